"""Channels of an inference function: those that are zero whatever the input leave it, and all that reads them."""

from segopt_callbacks.channels.removal import OUTPUT, Removal, remove_channels

__all__ = ["OUTPUT", "Removal", "remove_channels"]
