//! Every case about which model and kernel once disagreed. None ever leaves.

/// Read by `Case::parse`.
pub const FOUND: &[&str] = &[
    "user: {map: none} + mount: {} + overlay: {lower: lower, upper: upper, work: work, at: TARGET}",
    "user: {map: root} + mount: {} + user: {map: none} + mount: {} + overlay: {lower: /, upper: upper, work: work, at: TARGET}",
    "dir: /proc/here + mount: {} + bind: {from: missing, to: TARGET}",
    "user: {map: root} + mount: {} + bind: {from: /proc, to: source, read_only: true} + pid: {proc: true, init: false} + pivot_root: {new: source} + dir: /proc/here",
    "bind: {from: source, to: TARGET, read_only: true} + bind: {from: /proc, to: source, read_only: true} + dir: TARGET/made/deep",
    "user: {map: root} + mount: {} + overlay: {lower: TARGET, upper: upper, work: work, at: TARGET} + pivot_root: {new: TARGET, old: .old} + user: {map: root} + bind: {from: file, to: file, read_only: true}",
    "bind: {from: source, to: TARGET, read_only: true} + pid: {proc: true, init: false} + pivot_root: {new: TARGET} + overlay: {lower: lower, upper: upper, work: work, at: TARGET}",
    "user: {map: root} + mount: {} + bind: {from: /proc, to: source, read_only: true} + overlay: {lower: [source, lower], upper: upper, work: work, at: TARGET}",
    "overlay: {lower: [source, lower], upper: upper, work: work, at: TARGET} + domainname: box + pid: {proc: true, init: false} + user: {map: {uid: [{inside: 0, outside: 77, count: 1}], gid: []}}",
    "bind: {from: TARGET, to: TARGET} + overlay: {lower: /, upper: upper, work: work, at: TARGET} + pivot_root: {new: TARGET, old: .old}",
    "pivot_root: {new: /} + pivot_root: {new: TARGET, old: .old}",
];
