//! Between fork and execve the child never allocates and never frees.
//!
//! Another thread may have held the allocator's lock at the fork (`signal-safety(7)`), and then the child would wait
//! forever. So this program's allocator ends every process but the one that it began in, and plans are run in it.
//! It is its own harness: libtest has threads, and the kernel makes user namespaces for processes of one thread only.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    os::unix::fs::symlink,
    path::Path,
    ptr::null_mut,
    rc::Rc,
    sync::atomic::{AtomicI32, AtomicPtr, Ordering::SeqCst},
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};

use isorecipe::{
    doctor::{self, Thing, Verdict},
    exec::{self, Nobody, Outcome},
    host::Host,
    plan::Plan,
    recipe::{Recipe, Run},
    sys::{
        Call, Errno, Namespace,
        namespace::{self, Side},
        process::{self, Change},
    },
};

/// What a process exits with that uses the allocator and may not.
const CAUGHT: i32 = 99;

#[global_allocator]
static ALLOCATOR: Trap = Trap(AtomicPtr::new(null_mut()));

/// The system's allocator, for the process that has set the trap.
struct Trap(AtomicPtr<u8>);

/// The number of that process: a child that borrows its memory has its mark as well, and another number.
static OWNER: AtomicI32 = AtomicI32::new(0);

fn own_number() -> i32 {
    // SAFETY: `getpid` takes nothing, and asks nobody but the kernel.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}

impl Trap {
    /// From here on a forked child is caught. The mark is a page that the kernel wipes in every child: process ids
    /// would not do, since they begin at 1 again in a PID namespace.
    fn set(&self) {
        let size = 4096;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let page = unsafe { libc::mmap(null_mut(), size, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "a page");
        // SAFETY: the page was mapped above, for this process alone, and is never unmapped.
        let wiped = unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) };
        assert_eq!(wiped, 0, "Linux 4.14 or newer");
        // SAFETY: the page is writable, and nobody else knows of it yet.
        unsafe { page.cast::<u8>().write(1) };
        OWNER.store(own_number(), SeqCst);
        self.0.store(page.cast(), SeqCst);
    }

    fn check(&self) {
        let mark = self.0.load(SeqCst);
        // SAFETY: the page of the mark is never unmapped, nor written after it was stored.
        if mark.is_null() || unsafe { mark.read() } == 1 && OWNER.load(SeqCst) == own_number() {
            return;
        }
        let words = b"the child used the allocator\n";
        // SAFETY: the words live as long as the program; `_exit` runs nothing.
        unsafe {
            libc::write(2, words.as_ptr().cast(), words.len());
            libc::_exit(CAUGHT);
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.check();
        // SAFETY: the caller keeps what it promised to `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.check();
        // SAFETY: the caller keeps what it promised to `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

macro_rules! cases {
    ($($case:ident)*) => { [$((stringify!($case), $case as fn()),)*] };
}

fn main() {
    ALLOCATOR.set();
    for (name, case) in cases! {
        a_child_that_allocates_is_caught
        a_child_that_frees_is_caught
        a_child_that_borrows_memory_and_allocates_is_caught
        a_child_that_only_ends_is_not_caught
        a_command_without_layers_runs
        a_command_in_namespaces_made_at_once_runs
        a_command_in_namespaces_made_one_by_one_runs
        a_command_that_is_pid_1_runs
        an_init_that_reaps_an_orphan_ends_like_the_command
        a_step_that_fails_is_told
        a_step_that_fails_one_by_one_is_told
        a_filesystem_that_explains_itself_is_told
        a_command_that_does_not_exist_is_told
        a_supervisor_that_takes_its_turn_lets_the_child_go_on_or_stop
        a_root_of_its_own_is_entered
        a_command_with_few_rights_runs
        a_program_that_unpacks_is_started
        a_program_that_serves_is_started_and_its_mount_fetched
        everything_is_tried_by_doctor
    } {
        case();
        println!("test {name} ... ok");
    }
}

fn a_child_that_allocates_is_caught() {
    let status = status_of_child(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(status, CAUGHT);
}

fn a_child_that_frees_is_caught() {
    let own = Box::new(1);
    let address = Box::into_raw(own);
    // SAFETY: the child has a copy of the box of its own, and frees it once.
    let status = status_of_child(|| drop(unsafe { Box::from_raw(address) }));
    // SAFETY: this process has not freed the box yet.
    drop(unsafe { Box::from_raw(address) });
    assert_eq!(status, CAUGHT);
}

fn a_child_that_borrows_memory_and_allocates_is_caught() {
    let flags = Namespace::User.flag();
    let allocate = || drop(std::hint::black_box(Box::new(1)));
    let pid = namespace::fork_borrowing(flags, &allocate).expect("a child");
    let end = waitpid(Pid::from_raw(pid), None).expect("its end");
    assert_eq!(end, WaitStatus::Exited(Pid::from_raw(pid), CAUGHT));
}

fn a_child_that_only_ends_is_not_caught() {
    assert_eq!(status_of_child(|| ()), 0);
}

/// What a forked child exits with that does this.
fn status_of_child(does: impl FnOnce()) -> i32 {
    match namespace::fork().expect("a child") {
        Side::Child => {
            does();
            process::exit(0)
        }
        Side::Parent(pid) => match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, status)) => status,
            other => panic!("{other:?}"),
        },
    }
}

const NAMESPACES: &str = "[user: {map: root}, uts: {hostname: box}, mount, pid: {proc: true}]";

fn a_command_without_layers_runs() {
    assert_ends(run(plan("[]", "exit 7")), 7);
}

fn a_command_in_namespaces_made_at_once_runs() {
    let plan = plan(NAMESPACES, "exit 7");
    assert!(!plan.birth.is_empty(), "namespaces are made at once");
    assert_ends(run(plan), 7);
}

fn a_command_in_namespaces_made_one_by_one_runs() {
    let mut plan = plan(NAMESPACES, "exit 7");
    plan.unmerge();
    assert_ends(run(plan), 7);
}

fn a_command_with_few_rights_runs() {
    let layers = "[user: {map: root, nested: false}, pid, identity: {uid: 0, gid: 0, groups: keep}, \
                   capabilities: {keep: [chown], ambient: [chown]}, rlimits: {nofile: 64, core: 0}]";
    assert_ends(run(plan(layers, "test $(ulimit -n) = 64 && exit 7")), 7);
}

fn a_command_that_is_pid_1_runs() {
    let layers = "[user: {map: root}, pid: {init: false}]";
    assert_ends(run(plan(layers, "test $$ = 1 && exit 7")), 7);
}

fn an_init_that_reaps_an_orphan_ends_like_the_command() {
    let layers = "[user: {map: root}, pid: {init: true}]";
    assert_ends(run(plan(layers, "(sleep 0.1 &) ; sleep 0.2; exit 7")), 7);
}

const NO_UTS: &str = "[user: {map: root}, pid, hostname: box]";

fn a_step_that_fails_is_told() {
    assert_refused(run(plan(NO_UTS, ":")), Call::Sethostname, Errno::EPERM);
}

fn a_step_that_fails_one_by_one_is_told() {
    let mut plan = plan(NO_UTS, ":");
    plan.unmerge();
    assert_refused(run(plan), Call::Sethostname, Errno::EPERM);
}

fn a_filesystem_that_explains_itself_is_told() {
    let layers = "[user: {map: root}, mount, tmpfs: {at: /tmp, size: 1G, mode: 0755}, \
                   overlay: {lower: /usr, upper: /tmp, work: /tmp, at: /tmp}]";
    assert_refused(run(plan(layers, ":")), Call::Fsconfig, Errno::EINVAL);
}

fn a_command_that_does_not_exist_is_told() {
    let mut plan = planned("[user: {map: root}]", Path::new("/"), &["/no/such/command"]);
    let outcome = exec::run(&mut plan, &Nobody);
    assert_refused(outcome, Call::Execve, Errno::ENOENT);
}

/// Root maps ids from outside; an ordinary user has no right to id 7, and `newuidmap` (if it is installed) says so.
fn a_supervisor_that_takes_its_turn_lets_the_child_go_on_or_stop() {
    let outcome = run(plan("[user: {map: {uid: [{inside: 0, outside: 7}]}}]", "exit 7"));
    match outcome {
        outcome if Host::at_hand().is_root() => assert_ends(outcome, 7),
        Outcome::Refused { fault, .. } => assert_eq!(fault.call, Call::Helper),
        other => panic!("{other:?}"),
    }
}

fn a_root_of_its_own_is_entered() {
    let folder = tempfile::tempdir().expect("a folder");
    let rootfs = folder.path().join("rootfs");
    for name in ["usr", "proc", "merged"] {
        fs::create_dir_all(rootfs.join(name)).expect("a directory");
    }
    fs::create_dir(folder.path().join("merged")).expect("a directory");
    for name in ["bin", "lib", "lib64"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(name)) {
            symlink(target, rootfs.join(name)).expect("a link");
        }
    }
    let layers = "[user: {map: root}, pid, mount, overlay: {lower: rootfs, at: merged}, \
                   bind: {from: /usr, to: merged/usr, read_only: true}, \
                   pivot_root: {new: merged, old: .old}, proc]";
    let command = ["/bin/sh", "-c", "test -d /merged -a ! -e /.old -a -e /proc/self && exit 7"];
    let mut plan = planned(layers, folder.path(), &command);
    assert_ends(exec::run(&mut plan, &Nobody), 7);
}

fn a_program_that_unpacks_is_started() {
    assert_ends(with_image("unpack"), 7);
}

/// Where the device is root's alone, an ordinary user's program says so.
fn a_program_that_serves_is_started_and_its_mount_fetched() {
    match with_image("fuse") {
        Outcome::Refused { fault, evidence, .. } if !Host::at_hand().is_root() => {
            assert_eq!(fault, Call::Program.gave(Errno::EIO));
            assert!(evidence.log.contains("fuse"), "{evidence:?}");
        }
        outcome => assert_ends(outcome, 7),
    }
}

fn with_image(via: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("image");
    fs::create_dir_all(folder.path().join("tree/inside")).expect("a directory");
    let mut make = std::process::Command::new("mksquashfs");
    make.arg(folder.path().join("tree")).arg(&image).args(["-quiet", "-no-progress", "-all-root"]);
    assert!(make.status().expect("mksquashfs, of the package squashfs-tools").success());
    // SAFETY: this program has one thread.
    unsafe { std::env::set_var("XDG_CACHE_HOME", folder.path()) };
    let layers = format!(
        "[user: {{map: root}}, pid, mount, overlay: {{lower: {{image: image, via: [{via}]}}, at: merged, create: true}}]"
    );
    let script = format!("test -d {}/merged/inside && exit 7", folder.path().display());
    // The kernel reads it for root, who then needs no program.
    let mut host = Host::at_hand();
    host.caller.capabilities = 0;
    let command = ["/bin/sh", "-c", &script];
    exec::run(&mut planned_on(host, &layers, folder.path(), &command), &Nobody)
}

fn plan(layers: &str, script: &str) -> Plan {
    planned(layers, Path::new("/"), &["/bin/sh", "-c", script])
}

/// A plan for this machine. What the model thinks of it does not matter: the kernel is asked.
fn planned(layers: &str, folder: &Path, command: &[&str]) -> Plan {
    planned_on(Host::at_hand(), layers, folder, command)
}

fn planned_on(host: Host, layers: &str, folder: &Path, command: &[&str]) -> Plan {
    let text = format!("isorecipe: 1\nlayers: {layers}\n");
    let (recipe, _, mistakes) = Recipe::read(text.as_bytes(), "test", folder);
    let recipe = recipe.unwrap_or_else(|| panic!("{mistakes:?}"));
    let run = Run {
        command: command.iter().map(|&word| word.into()).collect(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        is_live: true,
        ..Run::default()
    };
    recipe.plan(Rc::new(host), &run)
}

fn run(mut plan: Plan) -> Outcome {
    exec::run(&mut plan, &Nobody)
}

#[track_caller]
fn assert_ends(outcome: Outcome, status: i32) {
    match outcome {
        Outcome::Ended(change) => assert_eq!(change, Change::Exited(status)),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_refused(outcome: Outcome, call: Call, errno: Errno) {
    match outcome {
        Outcome::Refused { fault, .. } => assert_eq!((fault.call, fault.errno), (call, errno)),
        other => panic!("{other:?}"),
    }
}

fn everything_is_tried_by_doctor() {
    for found in doctor::examine(&Host::probe()) {
        // Who is caught ends without a word.
        let is_lost = matches!(&found.verdict, Verdict::No(why) if why.code() == "sandbox::lost");
        assert!(!is_lost, "{found:?}");
        assert!(found.verdict.works() || !found.thing.is_basic(), "{found:?}");
    }
    assert_eq!(Thing::ALL.len(), 23);
}
