"""``pytorch_grad_cam.metrics``, whose names are refused: checks of maps are :func:`whybox.check`'s."""
