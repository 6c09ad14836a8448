"""moto's S3 for the tests: prints a line of JSON with its port and the keys of an account that may do all.

It has the buckets `lake` and `attic`. The account's keys and signatures are checked.
"""

import json
import logging
import os
import sys
import threading

# So many requests are made before anybody is asked for a key: those below.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "5"

import boto3
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

# moto looks whether an object is there and then writes it; S3 does both at once.
at_once, put_object = threading.Lock(), S3Response.put_object


def put_object_at_once(self):
    with at_once:
        return put_object(self)


S3Response.put_object = put_object_at_once
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
anybody = {
    "endpoint_url": f"http://127.0.0.1:{port}",
    "region_name": "us-east-1",
    "aws_access_key_id": "nobody",
    "aws_secret_access_key": "nothing",
}
iam = boto3.client("iam", **anybody)
iam.create_user(UserName="etl")
key = iam.create_access_key(UserName="etl")["AccessKey"]
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
iam.put_user_policy(UserName="etl", PolicyName="all", PolicyDocument=json.dumps(everything))
for bucket in ["lake", "attic"]:
    boto3.client("s3", **anybody).create_bucket(Bucket=bucket)
print(json.dumps({"port": port, "key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
os._exit(0)
