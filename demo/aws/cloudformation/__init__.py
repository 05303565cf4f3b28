"""CloudFormation: templates become resources through the same API calls that CloudFormation itself would make."""
