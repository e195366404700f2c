"""Why a message reached or did not reach each person."""
