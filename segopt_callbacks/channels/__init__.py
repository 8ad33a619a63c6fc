"""Channels of an inference function: those that are zero whatever the input leave it, and all that reads them."""

from segopt_callbacks.channels.groups import ChannelGroups, channel_groups
from segopt_callbacks.channels.reading import OUTPUT
from segopt_callbacks.channels.removal import Removal, remove_channels

__all__ = ["OUTPUT", "ChannelGroups", "Removal", "channel_groups", "remove_channels"]
