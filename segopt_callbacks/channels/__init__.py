"""Channels of an inference function: those that are zero whatever the input leave it, and all that reads them."""

from segopt_callbacks.channels.costs import Costs, measured
from segopt_callbacks.channels.groups import ChannelGroups, channel_groups
from segopt_callbacks.channels.layers import Layer
from segopt_callbacks.channels.reading import OUTPUT
from segopt_callbacks.channels.removal import Removal, remove_channels
from segopt_callbacks.channels.timing import milliseconds

__all__ = [
    "OUTPUT",
    "ChannelGroups",
    "Costs",
    "Layer",
    "Removal",
    "channel_groups",
    "measured",
    "milliseconds",
    "remove_channels",
]
