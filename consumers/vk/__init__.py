"""VK: the consumer and its calls."""

from consumers.vk.vk import Vk

__all__ = ["Vk"]
