"""What optical blur does to recognition by convolutional networks, and what can be done about it."""

__version__ = "0.1.0"
