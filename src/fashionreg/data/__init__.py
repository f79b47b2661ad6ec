"""Fashion-MNIST and its stand-ins as uint8 tensors, and the Lightning datamodules around them."""
