"""A CloudWatch alarm changed its state; it must not know what level that means.

Source: Amazon CloudWatch User Guide, "Alarm events and EventBridge".
"""

SOURCE = "aws.cloudwatch"
DETAIL_TYPE = "CloudWatch Alarm State Change"
NAME_FIELD = "alarmName"
