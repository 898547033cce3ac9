"""What `helm test` runs: two script steps, one after the other, through the operator; nothing but Python's library."""

import json
import os
import pathlib
import ssl
import sys
import time
import urllib.error
import urllib.request

HOST = os.environ["KUBERNETES_SERVICE_HOST"]
API = f"https://{f'[{HOST}]' if ':' in HOST else HOST}:{os.environ['KUBERNETES_SERVICE_PORT']}"
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAMESPACE = os.environ["ADZE_TEST_NAMESPACE"]
TIMEOUT = 180
RUNS = f"/apis/adze.dev/v1alpha1/namespaces/{NAMESPACE}/workflowruns"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=adze.dev/run-uid%3D"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=involvedObject.uid%3D"

WRITE = """import json, os
json.dump({"answer": 42}, open(os.environ["ADZE_OUTPUT"], "w"))
"""
CHECK = """import json
context = json.load(open("/adze/context.json"))
assert context["steps"]["write"]["output"] == {"answer": 42}, context
"""
RUN = {
    "apiVersion": "adze.dev/v1alpha1",
    "kind": "WorkflowRun",
    "metadata": {"generateName": "helm-test-"},
    "spec": {
        "workflowSpec": {
            "timeout": f"{TIMEOUT}s",
            "steps": [
                {"name": "write", "script": {"source": WRITE}},
                {"name": "check", "parents": ["write"], "script": {"source": CHECK}},
            ],
        }
    },
}


def call(method, path, body=None):
    request = urllib.request.Request(API + path, method=method)
    request.add_header("Authorization", "Bearer " + (ACCOUNT / "token").read_text())
    request.add_header("Content-Type", "application/json")
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(request, data, timeout=10, context=trust) as answer:
        return json.load(answer)


def retried(method, path, body=None):
    for _ in range(5):
        try:
            return call(method, path, body)
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")
        except OSError as error:
            print(f"{method} {path}: {error}; trying again")
            time.sleep(3)
    sys.exit("the API server cannot be reached")


def explain(run):
    uid = run["metadata"]["uid"]
    print("status:", json.dumps(run.get("status", "none: has the operator seen the run?"), indent=2))
    for pod in retried("GET", PODS + uid)["items"]:
        print("pod", pod["metadata"]["name"], json.dumps(pod["status"], indent=2))
    for event in retried("GET", EVENTS + uid)["items"]:
        print("event", event.get("reason"), event.get("message"))


created = retried("POST", RUNS, RUN)
path = RUNS + "/" + created["metadata"]["name"]
print("created", path)
start = time.monotonic()
seen = None
while time.monotonic() - start < TIMEOUT:
    run = retried("GET", path)
    status = run.get("status", {})
    now = (status.get("phase"), status.get("progress"), status.get("reason"))
    if now != seen:
        seen = now
        print(" ".join(filter(None, now)) or "waiting for the operator")
    if now[0] == "Succeeded":
        retried("DELETE", path)
        sys.exit(0)
    if now[0] in ("Failed", "Cancelled"):
        break
    time.sleep(1)
explain(run)
sys.exit(f"not Succeeded after {time.monotonic() - start:.0f} s but {seen[0]}: {path} is kept for a look")
