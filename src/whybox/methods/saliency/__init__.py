"""Saliency maps of networks: by gradients, by rules of operators, by layers, by covering parts of the input."""
