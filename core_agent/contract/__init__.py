"""The messages between edge and core and their strict codec: pure, shared by the agent, the Lambdas and the fabfile."""
