"""The AWS Lambda functions: they translate between the Auto Scaling group and the core, and hold no state."""
