// Package journal makes admission exact under race. Between the moment a webhook admits a write and the moment every
// replica has seen the object, another request would be judged without it: the journal, one ConfigMap in
// kubefederate-system, holds exactly these writes, and every decision is judged against it and added to it by
// compare-and-swap. MemberClusters and Federations stay the only record; the journal may be emptied at any time.
//
// The promise: there are never two members with one cluster ID, and never more members than a limit allows, whatever
// process dies, is restarted or is restored from a backup. Admissions keep it. Refusals may take longer.
//
// # Why it is exact
//
// All decisions on writes that matter to other objects stand in one order, that of the successful Updates of the
// ConfigMap. A decision knows every write that was admitted before it, by its entry or by the object:
//
//  1. An entry is written before the write that it stands for can reach etcd, and a decision counts only when its own
//     Update succeeds, so it has read the journal as it is. After an Update that was refused or lost it is judged anew.
//  2. A replica leaves an entry out of account only when what it knows of the host includes the entry's write: it has seen
//     the object with the entry's metadata.uid (for an update: of a later resourceVersion than the one that was judged,
//     since API servers make a write only upon the version that they asked about), or that this object is gone. A
//     name or a clock proves neither.
//  3. An entry leaves the journal in two steps: a replica that has seen the object marks it seen, and some seconds later it
//     is dropped. A replica keeps what it has read until what it knows of the host includes it, dropped or not, so how far
//     its watch lags does not matter. What it missed altogether, since it did not read the journal for long or has just
//     started, it knows from State.Dropped: then it reads everything once, before it decides (Journal.catchUp).
//  4. An entry that no replica has seen leaves after Patience, and only when a live read does not find the write. API
//     servers give a write at most 34 s from the request on (requestTimeoutUpperBound in k8s.io/apiserver), and etcd
//     a few more; so it can never come. Each replica counts the time from its own first sight of the entry, so clocks need
//     not agree. Entry.At is for people.
//  5. Live reads only add to what is known: an older state never takes the place of a newer one, and what is gone never
//     comes back. Only a host that is restored from a backup goes back. Then the journal lacks a write that was read, or the
//     watch brings an older version, and everything is read anew (core.observe).
//
// An entry holds the few bytes that uniqueness and limits read. A request that rests on more waits until the write is
// seen: one on members of a federation whose rules change, and a change of rules of a federation that members are joining.
// So does one that only an entry is against. After a second it is answered that it is to be tried again.
//
// An entry never blocks its own name: two requests for one name are both admitted, etcd takes one, and until then both
// entries count. What is to be changed by an entry counts as before and as after.
//
// # Refusals
//
// A refusal rests on what its rules have read (rules.Verdict.Reads), which a live read confirms: of the federation, of the
// member that has the cluster ID, or, where members are counted, a list of their metadata. There is at most one such list a
// second in a replica; it is for all requests that came before it began.
//
// # Bounds
//
// The journal is bounded in bytes, and so is what the entries of one federation and each entry may take (usage). Requests
// to the API server end after two seconds, over connections that are then dialled anew (WithDeadlines). While the journal
// cannot be read, what needs it is answered at once.
//
// # What it does not promise
//
// A label change that moves a member in no limit is not written down, so that it costs no write: it may cross with a
// rule, or a new limit, that would refuse it.
// A federation that is edited while the webhook is not installed is in no journal: until the watch brings it, members are
// judged by what it was.
// A write that is admitted here and refused by a later admission plugin keeps its reservation for Patience.
package journal
