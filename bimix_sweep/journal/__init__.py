"""Journal: the append-only record of a sweep, from which all its state is rebuilt.

`DIR/journal` holds segments; `DIR` is a local folder or any `pyarrow.fs` URI. Every writer has its
own segments. A segment's name consists of the writer's epoch (one higher than any before), a random
token and a number: `000002-9f3a1c07-000001.jsonl`. The first line of a segment is the header. Each
further line is an event or the beginning of a further group of events:

    {"format":"bimix-sweep journal","version":3,"writer":"000002-9f3a1c07","part":1,
     "parent":"000001-0c55e2aa","after":16,"check":"..."}
    {"seq":17,"epoch":2,"at":1767225600.25,"kind":"point",...,"check":"5d41402abc4b2a76"}
    {"after":17,"check":"..."}

`check` is a hash of the rest of its line. `seq` numbers the events of the record without a gap. An
event is acknowledged (`Journal.sync` returns) only when it is on storage. Callers that wait at the
same time share one flush, a group. Slow storage delays only the callers that wait.

**Power cuts.** On a disk, an acknowledged event is flushed (fsync), and so are the name of its
segment and the names of the folders above it. After a power cut, any part of the last group may be
missing:

* A group begins only when everything before it is flushed. A torn line after the last beginning of
  a group was never acknowledged and is skipped. A torn line before it is damage and raises an
  error.
* A writer that was killed leaves lines that other processes can read but that are not on the disk.
  A new writer flushes every segment that it has read before it writes a header that names them.

`last.json` records which segment, and how many events, must exist. The writer writes it before it
acknowledges the first group of a segment, and when it closes. If the newest segment is deleted,
emptied or cut, reading therefore raises an error.

**Object stores.** An object is put whole. A segment grows by further puts, each under a new name
(`000002-9f3a1c07-000001-000017.jsonl`); `backends` explains why no name is put twice.

**Two drivers.** A file lock (on a local folder) and a lease keep a second driver out while the
first one lives. The journal does not rely on either: locks fail on some network filesystems, and
put, get, list and delete cannot make a lock. Three rules hold even if both drivers continue:

* *Claim, then read.* A new writer first puts an empty segment under a name that nobody else has,
  and only then reads the record. A writer is the newest if no segment's name has a greater (epoch,
  token).
* *Put, then list.* After each flush, and before it acknowledges, a writer lists the folder. If it
  is no longer the newest writer, it is broken for good and acknowledges nothing more.
* *Name what was read.* The header names the writer that this writer continues, and the last event
  that it read. The record is the chain of these names, from the newest writer with a line down to
  the first.

An acknowledged event is never lost. Its writer X listed the folder after the put and was the
newest. Every writer Y above X therefore claimed after that, read still later, and saw the event. Y
continues the greatest writer M that it saw: M is X or above X. If M is above X, then M also read
after X's last acknowledgement, and the same argument holds for M.

A late write never enters the record. Lines that X adds after Y has read have numbers above the
number in Y's header. Segments of a writer that no chain names are in no record. No two writers ever
write the same name. If two writers open at the same time, both may write, but only the greater one
can still be the newest when it lists the folder, so only one acknowledges.

The storage must provide this: every get and list that begins after a put sees the put whole or not
at all. S3, GCS, Azure and a disk do. On NFS, turn off the caching of folders, or rely on the locks
of NFS.

A writer that was killed in the middle of a line leaves a torn tail. The next header names the last
whole event, and the lines after it are skipped. Any other damage raises an error, because
acknowledged results would be missing.
"""
