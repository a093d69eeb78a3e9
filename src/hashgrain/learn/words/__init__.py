"""Makes the bundled dictionary: WordNet's nouns, each with weights over the classes of ImageNet."""
