"""What `cdk deploy` puts up on AWS; it sees of the Lambdas only their events."""
