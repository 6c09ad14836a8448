#!/usr/bin/env python3
"""Ask the Jinja of Airflow 3.3.2's templates what conditions come to, and write its answers down as the cases of a test.

Regenerate with

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install apache-airflow==3.3.2
    AIRFLOW_HOME=/tmp/oracle/home /tmp/oracle/bin/python crates/core/tests/oracle/conditions/generate.py \
        > crates/core/tests/oracle/conditions/cases.jsonl

and compare with `cargo test -p updraft-core --test it conditions`.

Each expression is compiled by the environment that a DAG of no options has (`DAG.get_template_env`: Jinja2's sandbox,
`StrictUndefined`), and sees what a condition sees. The first line of the output is a header with the results that the
expressions look at, by their names; each other line is a case, an array:

    [name of the result, expression, "holds" or "does not" or "fails", value]

The value is left out where it fails, and where JSON has none; what can only be gone through is its items.
"""

from __future__ import annotations

import json
import logging
import types

import airflow
from airflow.sdk import DAG

RESULTS = {
    "map": {
        "rows": 3, "rate": 2.5, "name": "Ada L.", "tags": ["new", "old", "new"], "items": 7, "keys": [1], "empty": "",
        "none": None, "zero": 0, "yes": True, "nested": {"n": {"x": 1}, "l": [1, [2, 3]]}, "count": "12", "éa": "ü",
        "list": [{"id": 2, "ok": True}, {"id": 1, "ok": False}, {"id": 3, "ok": True}], "negative": -7, "large": 2**53 + 1,
    },
    "list": [3, 1, 2, 2],
    "number": 5,
    "float": 7.5,
    "text": "Done: 12 rows\n",
    "true": True,
    "none": None,
}  # fmt: skip

EXPRESSIONS = {
    "map": """
        result.rows == 3
        result['rows'] > 2 and result.rate < 3
        result.row > 2
        result['row'] == 3
        result.row
        not result.row
        result.row is defined
        result.row is undefined
        result.row | default(0) == 0
        result.row | default(0) > 0 or result.rows
        (result.row | default('none')) == 'none'
        result.none | default(4)
        result.none | default(4, true)
        result.empty | default('x', true)
        result.row.deep | default(1)
        result.nested.m.x | default(1)
        result.nested.m is defined and result.nested.m.x
        result.nested.n.x
        result.nested['l'][1][0]
        result.nested.l[5] is defined
        result.nested.l[5]
        result.nested.l[-1]
        result.items
        result.items is callable
        result['items']
        result.items() | length
        result.items() | list | first
        result.keys() | list | length
        result.keys is callable
        result['keys']
        result.values() | list | last
        result.get('rows')
        result.get('row')
        result.get('row', 9)
        result.get('row').deep
        'rows' in result
        'row' not in result
        result.row in [1, 2]
        1 in result.row
        result | length
        result is mapping
        result is sequence
        result is iterable
        result is string
        result.name.startswith('Ada')
        result.name.upper()
        result.name.split()
        result.name.split(' ', 1)[1]
        result.name.replace('Ada', 'Eva')
        result.name.lower().endswith('l.')
        result.name.find('L') > 0
        result.name.index('Q')
        result.name[0]
        result.name[-2:]
        result.name[::-1]
        result.name * 2
        result.name + 1
        result.name ~ 1
        result.name.nothing
        result.name | lower | replace(' ', '_')
        '%s has %d' % (result.name, result.rows)
        '%05.1f' % result.rate
        '%d%%' % result.rate
        '{} and {n}'.format(result.rows, n=2)
        result.tags | unique | list
        result.tags.count('new')
        result.tags.index('old')
        result.tags | join(',')
        result.tags[1:]
        result.tags | select('equalto', 'new') | list | length
        result.tags | map('upper') | list
        result.list | map(attribute='id') | sort | list
        result.list | selectattr('ok') | map(attribute='id') | list
        result.list | rejectattr('ok') | list | length
        result.list | sum(attribute='id')
        result.list | map(attribute='nothing') | list
        result.list | map(attribute='nothing', default=0) | list
        result.list | selectattr('nothing') | list
        result.list | groupby('ok') | length
        (result.list | max(attribute='id')).id
        result.list | sort(attribute='id', reverse=true) | map(attribute='id') | first
        result.list[0]['ok'] and result.list[1].ok
        result.count == 12
        result.count | int == 12
        result.count > 3
        result.count | float
        result.count + 1
        result.count ~ 1
        result.count.isdigit()
        result.negative // 2
        result.negative % 3
        result.negative / 2
        result.negative | abs
        -result.negative
        result.negative ** 2
        2 ** -1
        result.large
        result.large + 0.0 == result.large
        result.rows / 0
        result.rows % 0
        result.rows / 3
        result.rows == 3.0
        result.rows is integer
        result.rate is float
        result.yes == 1
        result.yes + 1
        result.yes is true
        result.yes is sameas true
        result.zero
        result.zero is none
        result.none is none
        result.none == none
        result.none.x
        result.none > 1
        result.none + 1
        result.none | length
        result.éa
        result | tojson
        result.nested | string
        result.tags | string
        dict(a=1).a == 1
        result.copy() == result
        result.pop('rows') == 3 and 'rows' not in result
        result.update({'rows': 4}) or result.rows
        result['rows', 1]
        result.rows if result.yes else 0
        result.rows if result.zero
        (result.rows if result.zero) is undefined
        result.rows == 3 == result.rows
        1 < result.rows <= 3 < 4
        result.rows is divisibleby 3
        result.rows is odd
        result.rows in (1, 2, 3)
        result.__class__
        result.name.__class__.__mro__
        result.clear
        result.nope()
        result.rows()
        result | dictsort | first
        result | items | list | length
        result | first
        result.nested == {'n': {'x': 1}, 'l': [1, [2, 3]]}
        result.nested < {}
        exit_code == 0 and state == 'success'
        'rows' in text
        text.startswith('{')
        namespace(x=result.rows).x
    """,
    "list": """
        result | sum
        result | sort
        result | max - result | min
        result | length == 4
        result[0] > result[1]
        result[9]
        result[9] | default(0)
        result[1:3]
        result | unique | list
        result | first + result | last
        result | reverse | list
        result.append(4) or result
        result + [4]
        result * 2
        result == [3, 1, 2, 2]
        result < [3, 2]
        2 in result
        '2' in result
        result | select('>', 1) | list
        result | select('gt', 9) | list
        result | reject('odd') | list
        result | join
        result.length
        result.count(2)
        result.x
        result | batch(2) | list
        result is sequence and result is not string
        range(3) | list
        range(result | length) | sum
        result | map('string') | join('-')
        result | random
        result | nothing
        result is nothing
    """,
    "number": """
        result
        result > 4
        result > '4'
        result == '5'
        result | string == '5'
        result / 2
        result // 2
        result * 1.5
        result | round
        result | float | round(1)
        result ** 100
        result + true
        result ~ ''
        result.real
        result.bit_length()
        result is number
        result | length
        result and 'yes'
        result or 'no'
        not result
        result in [5.0]
        '%.2f' % (result / 3)
        (result / 3) | round(2)
        text == '5'
    """,
    "float": """
        result | int
        result | round
        result | round(0, 'floor')
        result // 2
        result % 2
        result == 7.5
        result.is_integer()
        result | string
        0.1 + 0.2 == 0.3
        0.1 + 0.2
        result > none
        1e3 == 1000
        result * 2 is integer
        result | int is integer
    """,
    "text": """
        'rows' in result
        'Rows' in result | upper
        result.strip().endswith('rows')
        result | trim | length
        result.split(':')[1] | trim
        result.splitlines() | length
        (result.split() | list)[1] | int + 1
        result | wordcount
        result.partition(':')[0]
        result.rows
        result.isupper()
        result is lower
        result < 'E'
        result == text
        result | int
        result | int(-1) == -1
        result | title
        result.format()
        result.encode()
        '12' in result and not 'failed' in result
        result | replace('rows', 'lines') | trim
        'D' ~ 'one' in result
        result[100]
        result[100:]
    """,
    "true": """
        result
        result == true
        result is boolean
        result == 1
        result | string
        result ~ ''
        result + result
        result | int
        result is sameas true
        True and not False
    """,
    "none": """
        result
        result is none
        result == None
        result | default('x')
        result | default('x', true)
        result.rows
        result.rows | default(0)
        result[0]
        result | string
        result | int
        result or 'nothing'
        result < 1
    """,
}


def outcome(environment, expression: str, names: dict) -> list:
    try:
        value = environment.compile_expression(expression, undefined_to_none=False)(**names)
        if isinstance(value, (types.GeneratorType, type({}.keys()), type({}.values()), type({}.items()), range, reversed)):
            value = list(value)
        holds = bool(value)
    except Exception:  # noqa: BLE001
        return ["fails"]
    try:
        as_json = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return ["holds" if holds else "does not"]
    return ["holds" if holds else "does not", as_json]


def main() -> None:
    logging.disable()
    write = lambda line: print(json.dumps(line, separators=(",", ":"), ensure_ascii=False))  # noqa: E731
    write({"airflow": airflow.__version__, "results": RESULTS})
    environment = DAG("d", schedule=None).get_template_env()
    for name, expressions in EXPRESSIONS.items():
        for expression in filter(None, map(str.strip, expressions.splitlines())):
            result = json.loads(json.dumps(RESULTS[name]))
            text = result if isinstance(result, str) else json.dumps(result, separators=(",", ":"), ensure_ascii=False)
            names = {"result": result, "text": text, "state": "success", "exit_code": 0}
            write([name, expression, *outcome(environment, expression, names)])


main()
