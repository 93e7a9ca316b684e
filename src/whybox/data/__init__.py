"""Any frame or table file in, named columns out."""
