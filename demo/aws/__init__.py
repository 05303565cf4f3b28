"""AWS on one machine: moto with its gaps filled, so that real stacks deploy, scale and run; nothing leaves the host.

It must not know Drawbridge: any CDK application whose resource types are supported can be deployed to it.
"""
