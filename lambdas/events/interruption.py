"""AWS takes a spot instance back in two minutes; it must not know what should be done about it.

Source: Amazon EC2 User Guide, "Spot Instance interruption notices".
"""

SOURCE = "aws.ec2"
DETAIL_TYPE = "EC2 Spot Instance Interruption Warning"
