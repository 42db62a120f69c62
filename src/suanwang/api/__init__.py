"""The controller's HTTP door: users' REST calls, agents' streams, OpenAPI. It checks who may do what and decides
nothing."""
