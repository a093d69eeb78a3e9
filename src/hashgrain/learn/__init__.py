"""Learning to hash: labelled pictures in, a bundle out. The only room with torch."""
