"""A judge of pairs: a model that reads a prompt with two answers, asked twice with the places swapped."""
