"""What tests run on: brokers, databases, roles as processes, stubs of outside services."""
