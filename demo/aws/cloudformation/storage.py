"""Knows the buckets, image repositories, parameters, keys and secrets that a stack makes."""

from __future__ import annotations

import json

from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource, as_map, takes

_ACLS = {"Private": "private", "LogDeliveryWrite": "log-delivery-write"}


def _bucket(order: Order) -> Made:
    s3 = order.place.client("s3")
    name = str(order.properties.get("BucketName", order.name.lower()))[:63]
    acl = {"ACL": _ACLS[order.properties["AccessControl"]]} if "AccessControl" in order.properties else {}
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": order.place.region}, **acl)
    _configure_bucket(order, name)
    attributes = {
        "Arn": f"arn:aws:s3:::{name}",
        "DomainName": f"{name}.s3.amazonaws.com",
        "RegionalDomainName": f"{name}.s3.{order.place.region}.amazonaws.com",
    }
    return Made(physical_id=name, attributes=attributes)


def _configure_bucket(order: Order, name: str) -> None:
    s3 = order.place.client("s3")
    given = order.properties
    if "BucketEncryption" in given:
        rules = [
            {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
            for rule in given["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        ]
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    if "PublicAccessBlockConfiguration" in given:
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=given["PublicAccessBlockConfiguration"])
    if "VersioningConfiguration" in given:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=given["VersioningConfiguration"])


def _change_bucket(order: Order, old: Resource) -> Made:
    _configure_bucket(order, old.made.physical_id)
    return old.made


def _delete_bucket(order: Order, resource: Resource) -> None:
    order.place.client("s3").delete_bucket(Bucket=resource.made.physical_id)


def _bucket_policy(order: Order) -> Made:
    policy = json.dumps(order.properties["PolicyDocument"])
    order.place.client("s3").put_bucket_policy(Bucket=order.properties["Bucket"], Policy=policy)
    return Made(physical_id=order.properties["Bucket"])


def _change_bucket_policy(order: Order, _old: Resource) -> Made:
    return _bucket_policy(order)


def _delete_bucket_policy(order: Order, resource: Resource) -> None:
    order.place.client("s3").delete_bucket_policy(Bucket=resource.properties["Bucket"])


def _repository(order: Order) -> Made:
    name = str(order.properties.get("RepositoryName", order.name.lower()))
    made = order.place.client("ecr").create_repository(repositoryName=name)["repository"]
    return Made(physical_id=name, attributes={"Arn": made["repositoryArn"], "RepositoryUri": made["repositoryUri"]})


def _delete_repository(order: Order, resource: Resource) -> None:
    order.place.client("ecr").delete_repository(repositoryName=resource.made.physical_id, force=True)


def _put_parameter(order: Order, name: str, *, overwrite: bool) -> Made:
    order.place.client("ssm").put_parameter(
        Name=name, Overwrite=overwrite, **order.pick("Type", "Value", "Description", "AllowedPattern", "Tier")
    )
    return Made(physical_id=name, attributes={"Type": order.properties["Type"], "Value": order.properties["Value"]})


def _parameter(order: Order) -> Made:
    return _put_parameter(order, str(order.properties.get("Name", order.name)), overwrite=False)


def _change_parameter(order: Order, old: Resource) -> Made:
    return _put_parameter(order, old.made.physical_id, overwrite=True)


def _delete_parameter(order: Order, resource: Resource) -> None:
    order.place.client("ssm").delete_parameter(Name=resource.made.physical_id)


def _key(order: Order) -> Made:
    kms = order.place.client("kms")
    request = order.pick("Description", "KeySpec", "KeyUsage", "MultiRegion")
    if "KeyPolicy" in order.properties:
        request["Policy"] = json.dumps(order.properties["KeyPolicy"])
    made = kms.create_key(**request)["KeyMetadata"]
    if order.properties.get("EnableKeyRotation"):
        kms.enable_key_rotation(KeyId=made["KeyId"])
    return Made(physical_id=made["KeyId"], attributes={"Arn": made["Arn"], "KeyId": made["KeyId"]})


def _delete_key(order: Order, resource: Resource) -> None:
    order.place.client("kms").schedule_key_deletion(KeyId=resource.made.physical_id, PendingWindowInDays=7)


def _key_alias(order: Order) -> Made:
    request = order.pick("AliasName", "TargetKeyId")
    order.place.client("kms").create_alias(**request)
    return Made(physical_id=request["AliasName"])


def _delete_key_alias(order: Order, resource: Resource) -> None:
    order.place.client("kms").delete_alias(AliasName=resource.made.physical_id)


def _secret_text(order: Order) -> str:
    generate: Properties | None = order.properties.get("GenerateSecretString")
    if generate is None:
        return str(order.properties.get("SecretString", ""))
    shape = {key: value for key, value in generate.items() if key not in {"SecretStringTemplate", "GenerateStringKey"}}
    password = order.place.client("secretsmanager").get_random_password(**shape)["RandomPassword"]
    if "GenerateStringKey" not in generate:
        return str(password)
    return json.dumps({**json.loads(generate["SecretStringTemplate"]), generate["GenerateStringKey"]: password})


def _secret(order: Order) -> Made:
    arn = order.place.client("secretsmanager").create_secret(
        Name=order.properties.get("Name", order.name),
        SecretString=_secret_text(order),
        **order.pick("Description", "KmsKeyId", "Tags"),
    )["ARN"]
    return Made(physical_id=arn, attributes={"Id": arn})


def _delete_secret(order: Order, resource: Resource) -> None:
    order.place.client("secretsmanager").delete_secret(
        SecretId=resource.made.physical_id, ForceDeleteWithoutRecovery=True
    )


def _log_group(order: Order) -> Made:
    logs = order.place.client("logs")
    name = str(order.properties.get("LogGroupName", order.name))
    tags = {"tags": as_map(order.properties["Tags"])} if order.properties.get("Tags") else {}
    logs.create_log_group(logGroupName=name, **tags)
    _retain(order, name)
    return Made(physical_id=name, attributes={"Arn": order.place.arn("logs", f"log-group:{name}:*")})


def _retain(order: Order, name: str) -> None:
    if "RetentionInDays" in order.properties:
        order.place.client("logs").put_retention_policy(
            logGroupName=name, retentionInDays=int(order.properties["RetentionInDays"])
        )


def _change_log_group(order: Order, old: Resource) -> Made:
    _retain(order, old.made.physical_id)
    return old.made


def _delete_log_group(order: Order, resource: Resource) -> None:
    order.place.client("logs").delete_log_group(logGroupName=resource.made.physical_id)


KINDS = (
    Kind(
        type="AWS::S3::Bucket",
        # A bucket here lives as long as this process, so nothing in it grows old: its lifecycle rules are not needed.
        takes=takes(
            "BucketName BucketEncryption PublicAccessBlockConfiguration VersioningConfiguration LifecycleConfiguration "
            "AccessControl Tags"
        ),
        create=_bucket,
        update=_change_bucket,
        replaces=takes("BucketName"),
        delete=_delete_bucket,
    ),
    Kind(
        type="AWS::S3::BucketPolicy",
        takes=takes("Bucket PolicyDocument"),
        create=_bucket_policy,
        update=_change_bucket_policy,
        replaces=takes("Bucket"),
        delete=_delete_bucket_policy,
    ),
    Kind(
        type="AWS::ECR::Repository",
        # `cdk bootstrap` makes one that stays empty; what the rest of its properties do to images shows on none.
        takes=takes(
            "RepositoryName ImageTagMutability ImageScanningConfiguration LifecyclePolicy RepositoryPolicyText"
        ),
        create=_repository,
        delete=_delete_repository,
    ),
    Kind(
        type="AWS::SSM::Parameter",
        takes=takes("Name Type Value Description AllowedPattern Tier"),
        create=_parameter,
        update=_change_parameter,
        replaces=takes("Name"),
        delete=_delete_parameter,
    ),
    Kind(
        type="AWS::KMS::Key",
        takes=takes("Description KeyPolicy KeySpec KeyUsage EnableKeyRotation MultiRegion"),
        create=_key,
        delete=_delete_key,
    ),
    Kind(type="AWS::KMS::Alias", takes=takes("AliasName TargetKeyId"), create=_key_alias, delete=_delete_key_alias),
    Kind(
        type="AWS::SecretsManager::Secret",
        takes=takes("Name Description SecretString GenerateSecretString KmsKeyId Tags"),
        create=_secret,
        delete=_delete_secret,
    ),
    Kind(
        type="AWS::Logs::LogGroup",
        takes=takes("LogGroupName RetentionInDays Tags"),
        create=_log_group,
        update=_change_log_group,
        replaces=takes("LogGroupName"),
        delete=_delete_log_group,
    ),
)
