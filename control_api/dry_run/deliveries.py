"""Deliveries: what a version makes of a message.

A delivery is a consumer and a username; None for the name stands for everyone, in a message without receiver to a consumer whose
address is fixed.
"""

from collections.abc import Mapping

Delivery = tuple[str, str | None]  # consumer, and recipient
Deliveries = Mapping[Delivery, None]  # in order
NONE: Deliveries = {}
