"""An instance that a lifecycle hook holds, as EventBridge tells it; it must not know what should be done about it.

Source: Amazon EC2 Auto Scaling User Guide, "EventBridge event reference for Auto Scaling", lifecycle actions.
"""

SOURCE = "aws.autoscaling"
LAUNCH = "EC2 Instance-launch Lifecycle Action"
TERMINATE = "EC2 Instance-terminate Lifecycle Action"
GROUP_FIELD = "AutoScalingGroupName"
