"""Writes shapes.json: the fields of Airflow's responses, taken from its OpenAPI document.

    python3 shapes.py .../airflow/api_fastapi/core_api/openapi/v2-rest-api-generated.yaml > shapes.json

Needs PyYAML, and Airflow 3.3.2 from PyPI for the document.
"""

import json
import sys

import yaml

# What Updraft answers with; bodies of requests and what it has no routes for are left out.
ROOTS = """
DAGResponse DAGCollectionResponse DAGDetailsResponse DAGVersionCollectionResponse DagVersionResponse
DAGSourceResponse DAGTagCollectionResponse DagStatsCollectionResponse TaskResponse TaskCollectionResponse
DAGRunResponse DAGRunCollectionResponse TaskInstanceResponse TaskInstanceCollectionResponse
ClearTaskInstanceCollectionResponse TaskInstanceHistoryResponse TaskInstanceHistoryCollectionResponse
TaskDependencyCollectionResponse TaskInstancesLogResponse XComResponseNative XComCollectionResponse
ImportErrorResponse ImportErrorCollectionResponse PoolResponse PoolCollectionResponse VariableResponse
VariableCollectionResponse ConnectionResponse ConnectionCollectionResponse ConnectionTestResponse
EventLogResponse EventLogCollectionResponse JobCollectionResponse HealthInfoResponse VersionInfo
HTTPExceptionResponse HTTPValidationError BulkResponse
""".split()


def name(ref):
    return ref["$ref"].rsplit("/", 1)[-1]


def kinds(schema):
    """The types that a value may have: names of JSON types, of formats and of other shapes."""
    if "$ref" in schema:
        return [name(schema)]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return [kind for part in schema[union] for kind in kinds(part)]
    if schema.get("type") == "array":
        return [{"each": kinds(schema.get("items", {}))}]
    if schema.get("format") in ("date-time", "uuid", "duration"):
        return [schema["format"]]
    if "enum" in schema:
        return [{"one of": schema["enum"]}]
    return [schema.get("type", "any")]


def main():
    schemas = yaml.safe_load(open(sys.argv[1]))["components"]["schemas"]
    shapes, todo = {}, list(ROOTS)
    while todo:
        root = todo.pop()
        if root in shapes:
            continue
        schema = schemas[root]
        if "properties" in schema:
            required = schema.get("required", [])
            fields = {
                field: {"required": field in required, "kinds": kinds(part)}
                for field, part in schema["properties"].items()
            }
            shapes[root] = {"fields": fields, "others": bool(schema.get("additionalProperties"))}
        else:
            shapes[root] = {"kinds": kinds(schema)}
        text = json.dumps(shapes[root])
        todo += [other for other in schemas if f'"{other}"' in text]
    lines = [f"{json.dumps(root)}: {json.dumps(shape, sort_keys=True)}" for root, shape in sorted(shapes.items())]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


main()
