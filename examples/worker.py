#!/usr/bin/python3
"""A worker: extracts the text of documents, cuts it into chunks and indexes them.
Start as many as you like, anywhere: PGHOST, PGDATABASE ... name the database, PGAPPNAME the worker.
Kill any of them at any time."""
import html, json, pathlib, re, subprocess, threading, time
import psycopg

def call(verb, *arguments):
    marks = ", ".join(["%s"] * len(arguments))
    return db.execute(f"SELECT job_queue.{verb}({marks})", arguments).fetchone()[0]

def keep_lease(own_connection):
    while not time.sleep(1):
        if held := lease:
            own_connection.execute("SELECT job_queue.heartbeat_many(ARRAY[%s], ARRAY[%s])", held)

def stage(name, work, *arguments):
    """The outcome of a stage; one that an earlier attempt saved is not made again."""
    if call("begin_stage", *lease, name):
        call("checkpoint", *lease, name, json.dumps(work(*arguments)))
    return call("get_checkpoint", lease[0], name)

def extract(document, path):
    db.execute("UPDATE document SET extractions = extractions + 1 WHERE id = %s", [document])
    if path.lower().endswith(".pdf"):
        run = subprocess.run(["pdftotext", path, "-"], capture_output=True, encoding="utf-8")
        if run.returncode != 0:
            raise ValueError(run.stderr.strip().rpartition("\n")[2])
        return run.stdout.replace("\0", "")
    text = pathlib.Path(path).read_text("utf-8").replace("\0", "")
    if path.lower().endswith((".html", ".htm")):
        text = html.unescape(re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]+>", "", text))
    return text

def index(document, chunks):
    call("begin_stage", *lease, "index")
    with db.transaction():  # the chunks appear together with the end of the job, or not at all
        db.execute("DELETE FROM chunk WHERE document = %s", [document])
        for number, body in enumerate(chunks, 1):
            db.execute("INSERT INTO chunk VALUES (%s, %s, %s)", [document, number, body])
            call("report_progress", *lease, 70 + 30 * number / len(chunks), f"chunk {number}")
        call("complete", *lease, json.dumps({"chunks": len(chunks)}))

def process(document, path):
    try:
        text = stage("extract", extract, document, path)
        index(document, stage("chunk", re.findall, r"(?s).{1,1200}(?=\s|\Z)|.{1,1200}", text))
    except ValueError as error:  # the file is at fault: another attempt would not help
        call("fail", *lease, f"{path} is unreadable: {error}", "unreadable", False)
    except Exception as error:
        if getattr(error, "sqlstate", None) != "JQ001":  # not when the lease was lost
            call("fail", *lease, str(error))

lease, db = None, psycopg.connect(autocommit=True)
threading.Thread(target=keep_lease, args=[psycopg.connect(autocommit=True)], daemon=True).start()
while db.execute("CALL job_queue.wait_for_jobs('documents')"):
    claim = "SELECT job_id, lease_token, payload FROM job_queue.claim('documents')"
    for *lease, payload in db.execute(claim).fetchall():
        process(**payload)
        lease = None
