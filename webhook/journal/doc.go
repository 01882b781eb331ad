// Package journal makes admission exact under race. Between the moment a webhook admits a write and the moment
// every replica has seen the object, another request would be judged without it: the journal, one ConfigMap
// in kubefederate-system, holds exactly these writes, and every decision is judged against it and added to it
// by compare-and-swap. MemberClusters and Federations stay the only record; the journal may be emptied at any
// time in which nobody joins.
//
// # Why it is exact
//
// All decisions on writes that matter to other objects stand in one order, that of the successful Updates of the
// ConfigMap. The claim is: a decision knows every write that was admitted before it, by its entry or by the
// object.
//
//  1. An entry is written before the write that it stands for can reach etcd, and a decision counts only when
//     its own Update succeeds, so it has read the journal as it is. A refused or lost Update is judged anew.
//  2. A replica leaves an entry out of account only when its own sight of the host has gone past it: it has seen
//     the object with the entry's metadata.uid (for an update: of a later resourceVersion than the one that was
//     judged, since API servers make a write only upon the version that they asked about), or that this uid is
//     gone. A name or a clock proves neither.
//  3. An entry leaves the journal in two steps: a replica that has seen the object marks it seen, and some seconds
//     later it is dropped. A replica keeps what it has read until its own sight has gone past it, dropped or not, so
//     how far its watch lags does not matter. What it missed altogether, since it did not read the journal
//     for long or has just started, it knows from State.Dropped, the number of the last entry that was dropped:
//     then it reads everything once, before it decides (Journal.relist).
//  4. An entry that nobody has seen leaves after Patience, and only when a live read does not find the write.
//     API servers give a write at most 34 s from the request on (requestTimeoutUpperBound in k8s.io/apiserver),
//     and etcd a few more; so it can never come. The time is counted by each replica from its own first sight of
//     the entry, so clocks need not agree. Entry.At is for people.
//  5. Live reads only add to the sight of the host: an older state never takes the place of a newer one, and what is
//     gone never comes back. So a refusal is confirmed by asking live whether what it rests on is still as
//     it is known here (Still), and judged again when it is not. Two things the journal itself tells, read now
//     (core.beyond). A federation is as it is known when nothing about it is written down that is not seen. So are the
//     number of its members and their buckets, but for members that are written down as leaving or changing bucket:
//     those few are asked about.
//
// An entry never blocks its own name: two requests for one name are both admitted, etcd takes one, and until
// then both entries count. What is to be changed by an entry counts as before and as after.
//
// # What it does not promise
//
// A label change that moves a member in no limit is not written down, so that it costs no write: it may cross
// with a rule that would refuse it. The controllers report such a member.
// A federation that is edited while the webhook is taken out is in no journal: until the watch brings it, a refusal may
// rest on what it was. Nor is a member that leaves while no manager answers, or when the last finalizer is taken off it,
// or while a hundred others do: until the watch brings that, it may be counted, and whoever is refused for it tries
// again.
// A write that is admitted here and refused by somebody after us holds its place until Patience has passed.
package journal
