"""Parked: the deliveries that wait on `parked`, listed and cancelled."""
