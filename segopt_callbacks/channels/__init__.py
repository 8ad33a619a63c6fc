"""Channels that are zero whatever the input leave the inference function, and all that computes or reads them."""

from segopt_callbacks.channels.removal import remove_channels

__all__ = ["remove_channels"]
