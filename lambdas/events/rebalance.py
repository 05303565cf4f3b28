"""A spot instance is at a raised risk of being taken back; it must not know what should be done about it.

Source: Amazon EC2 User Guide, "EC2 instance rebalance recommendations".
"""

SOURCE = "aws.ec2"
DETAIL_TYPE = "EC2 Instance Rebalance Recommendation"
