"""The whole house on one machine: a local AWS driver over moto and hosts in network namespaces."""
