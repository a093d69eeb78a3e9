"""How the dictionary that ships is made: WordNet's nouns, each with weights over the classes of ImageNet."""
