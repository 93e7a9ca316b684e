"""``pytorch_grad_cam.utils``: targets and pictures."""
