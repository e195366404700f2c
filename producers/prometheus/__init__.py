"""Prometheus and Alertmanager: the producer, by webhook and by asking."""

from producers.prometheus.prometheus import Prometheus, PrometheusParameters

__all__ = ["Prometheus", "PrometheusParameters"]
