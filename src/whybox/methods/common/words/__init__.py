"""The words of texts: split off, left out or replaced, and the models that read such texts."""
