//! Which sandboxes run: who is listed, where it is written, and that nothing written there is believed too easily.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/observing.rs"]
mod observing;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use machine::{Desk, Ran, STRANGER, Who, eventually, proc_file};
use nix::{sys::stat::Mode, unistd::mkfifo};
use observing::{listed, name_of, observe_as};
use serde_json::{Value, json};

/// A desk whose user has a directory for running programs, which no other test uses.
struct Session {
    desk: Desk,
    runtime: PathBuf,
}

impl Session {
    fn of(who: Who) -> Self {
        let desk = Desk::of(who);
        desk.make_dir("run");
        Self { runtime: desk.path("run"), desk }
    }

    fn registry(&self) -> PathBuf {
        self.runtime.join("isorecipe")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.desk.command(words);
        command.env("XDG_RUNTIME_DIR", &self.runtime);
        command
    }

    /// A sandbox that ends with its input; it may not be registered yet.
    fn start(&self, recipe: &str) -> Sandbox {
        let mut command = self.command(&["apply", recipe, "--", "bash", "-c", "read -r line"]);
        Sandbox(command.stdin(Stdio::piped()).spawn().expect("the program"))
    }

    /// What is registered here, once it is so much.
    #[track_caller]
    fn files(&self, count: usize) -> Vec<PathBuf> {
        let files = || -> Vec<PathBuf> {
            let entries = fs::read_dir(self.registry()).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            files.retain(|file| !file.display().to_string().ends_with(".new"));
            files.sort();
            files
        };
        eventually(&format!("{count} are registered"), || files().len() == count);
        files()
    }

    fn observe(&self, words: &[&str]) -> Ran {
        let words = [&["observe"], words].concat();
        Ran(self.command(&words).output().expect("the program"))
    }

    /// Names of the sandboxes that were registered here.
    #[track_caller]
    fn names(&self) -> Vec<String> {
        let all = observing::json(self.observe(&["--json"]));
        let folder = self.desk.folder().display().to_string();
        let here = |sandbox: &&Value| {
            sandbox["recipe"].as_str().is_some_and(|recipe| recipe.starts_with(&folder))
        };
        let name = |sandbox: &Value| sandbox["name"].as_str().expect("a name").to_owned();
        all["sandboxes"].as_array().expect("a list").iter().filter(here).map(name).collect()
    }
}

struct Sandbox(Child);

impl Sandbox {
    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn finish(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("an end");
    }

    fn kill(mut self) {
        self.0.kill().expect("a kill");
        self.0.wait().expect("an end");
    }
}

#[test]
fn a_sandbox_is_listed_while_it_runs_and_leaves_nothing() {
    for who in Who::all() {
        let session = Session::of(who);
        let sandbox = session.start("step1.yaml");
        let files = session.files(1);
        assert_eq!(session.names(), ["step1"]);
        let found = |path: &Path| {
            let found = fs::metadata(path).expect("it is there");
            (found.mode() & 0o777, found.uid())
        };
        assert_eq!(found(&session.registry()), (0o700, who.uid()));
        assert_eq!(found(&files[0]), (0o600, who.uid()));
        sandbox.finish();
        assert_eq!(session.files(0), [""; 0].map(PathBuf::from));
        assert_eq!(session.names(), [""; 0]);
    }
}

#[test]
fn a_second_sandbox_on_one_upper_is_warned_of() {
    let session = Session::of(Who::ordinary());
    session.desk.make_rootfs("rootfs", &["bash"]);
    let again = || {
        let words = ["apply", "step4-rootless.yaml", "--", "bash", "-c", "true"];
        let ran = session.command(&words).output().expect("the program");
        assert!(ran.status.success());
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    assert_eq!(again(), "");
    let sandbox = session.start("step4-rootless.yaml");
    session.files(1);
    let said = again();
    assert!(said.contains("warning[overlay::upper_in_use]"), "{said}");
    assert!(said.contains("the sandbox step4-rootless writes to this `upper` as well"), "{said}");
    sandbox.finish();
    session.files(0);
    assert_eq!(again(), "");
}

#[test]
fn when_none_runs_people_are_told_and_programs_get_an_empty_list() {
    // In a PID namespace of its own no other test's sandbox is seen.
    let session = Session::of(Who::ordinary());
    let mut command = session.command(&["observe"]);
    let words = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let program = command.get_program().to_owned();
    let run = |flags: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(words).arg(&program).args(flags).arg("observe");
        if machine::own_uid() == 0 {
            unshare.uid(session.desk.who.uid()).gid(session.desk.who.gid());
        }
        Ran(unshare.output().expect("unshare")).succeeds()
    };
    command.stdin(Stdio::null());
    let ran = run(&[]);
    assert_eq!(
        (ran.out().as_str(), ran.err().contains("no sandbox of yours is running")),
        ("", true)
    );
    assert_eq!(run(&["--json"]).out(), "{\"sandboxes\":[]}\n");
}

#[test]
fn two_of_one_recipe_have_two_names() {
    let session = Session::of(Who::ordinary());
    let first = session.start("step1.yaml");
    session.files(1);
    let second = session.start("step1.yaml");
    session.files(2);
    assert_eq!(session.names(), ["step1", "step1-2"]);
    first.finish();
    session.files(1);
    assert_eq!(session.names(), ["step1-2"], "a name does not change");
    let third = session.start("step1.yaml");
    session.files(2);
    let mut names = session.names();
    names.sort();
    assert_eq!(names, ["step1", "step1-2"], "and one that is free is given again");
    second.finish();
    third.finish();
}

#[test]
fn sandboxes_that_begin_at_once_have_different_names() {
    let session = Session::of(Who::ordinary());
    let all: Vec<Sandbox> = (0..8).map(|_| session.start("step1.yaml")).collect();
    session.files(8);
    eventually("all have settled", || {
        let mut names = session.names();
        names.sort();
        names.dedup();
        names.len() == 8
    });
    all.into_iter().for_each(Sandbox::finish);
}

#[test]
fn a_name_comes_from_the_recipe_and_else_from_its_file() {
    let session = Session::of(Who::ordinary());
    session.desk.write("no name.yaml", "isorecipe: 1\nlayers: []\n");
    session.desk.write("odd.yaml", "isorecipe: 1\nname: '../../42 / \u{e9}'\nlayers: []\n");
    // A number would be a PID.
    for (recipe, name) in [("no name.yaml", "no-name"), ("odd.yaml", "sandbox-42")] {
        let sandbox = session.start(recipe);
        session.files(1);
        assert_eq!(session.names(), [name]);
        sandbox.finish();
        session.files(0);
    }
}

#[test]
fn one_whose_supervisor_was_killed_is_never_shown() {
    for who in Who::all() {
        let session = Session::of(who);
        let (doomed, other) = (session.start("step1.yaml"), session.start("step3.yaml"));
        session.files(2);
        doomed.kill();
        assert_eq!(session.names(), ["step3"]);
        // Looking has swept what was left.
        session.files(1);
        other.kill();
        // And so does who comes next, without anybody looking.
        session.files(1);
        let next = session.start("step3.yaml");
        eventually("the new one is alone", || {
            session.files(1)[0].display().to_string().contains(&format!(".{}-", next.pid()))
        });
        next.finish();
    }
}

#[test]
fn without_a_directory_of_the_session_it_is_one_in_tmp() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step1.yaml", "");
    let name = name_of(&desk, &sandbox);
    let home = PathBuf::from(format!("/tmp/isorecipe-{}", desk.who.uid()));
    let found = fs::metadata(&home).expect("the directory");
    assert_eq!((found.mode() & 0o777, found.uid()), (0o700, desk.who.uid()));
    let own = format!("{name}.{}-", sandbox.supervisor());
    if machine::own_uid() == desk.who.uid() || machine::own_uid() == 0 {
        let names =
            fs::read_dir(&home).expect("its files").flatten().map(|entry| entry.file_name());
        assert_eq!(names.filter(|file| file.to_string_lossy().starts_with(&own)).count(), 1);
    }
    sandbox.finish();
}

#[test]
fn a_command_holds_nothing_of_the_registry() {
    let session = Session::of(Who::ordinary());
    let sandbox = session.start("step1.yaml");
    session.files(1);
    let command = machine::children(sandbox.pid())[0];
    eventually("the command runs", || proc_file(command, "comm") == "bash");
    let open = Command::new("ls").arg("-l").arg(format!("/proc/{command}/fd")).output();
    let open = String::from_utf8_lossy(&open.expect("ls").stdout).into_owned();
    assert!(open.contains("pipe:") && !open.contains("isorecipe/"), "{open}");
    sandbox.finish();
}

/// The whole of a registration, as its supervisor wrote it.
fn forge(session: &Session, from: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let mut entry: Value = serde_json::from_slice(&fs::read(from).expect("a file")).expect("JSON");
    change(&mut entry);
    let path = session.registry().join(name);
    fs::write(&path, entry.to_string()).expect("a file");
    if machine::own_uid() == 0 {
        std::os::unix::fs::chown(&path, Some(session.desk.who.uid()), None).expect("an owner");
    }
}

#[test]
fn what_nobody_holds_does_not_run_whatever_it_says() {
    let session = Session::of(Who::ordinary());
    let sandbox = session.start("step1.yaml");
    let file = session.files(1).remove(0);
    let (pid, own) =
        (sandbox.pid(), file.file_name().expect("a name").to_string_lossy().into_owned());
    let numbers = own.rsplit_once('.').expect("numbers").1.to_owned();
    // A copy that names itself rightly, of a supervisor that lives: but it is not held.
    forge(&session, &file, &format!("copy.{numbers}"), |entry| entry["name"] = json!("copy"));
    // The PID is somebody else's by now.
    forge(&session, &file, &format!("reused.{pid}-1-0"), |entry| {
        entry["name"] = json!("reused");
        entry["supervisor"]["started"] = json!(1);
    });
    assert_eq!(session.names(), ["step1"]);
    assert_eq!(session.files(1), [file]);
    sandbox.finish();
}

/// When this process began, in clock ticks since the machine did.
fn began() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("a stat");
    let after = stat.rsplit(')').next().expect("fields");
    after.split_whitespace().nth(19).expect("field 22").parse().expect("ticks")
}

#[test]
fn a_registration_is_not_believed_of_other_processes_than_its_own() {
    let session = Session::of(Who::ordinary());
    let sandbox = session.start("step1.yaml");
    let file = session.files(1).remove(0);
    let before = fs::read(&file).expect("a file");
    let mut entry: Value = serde_json::from_slice(&before).expect("JSON");
    let started = entry["command"]["started"].as_u64().expect("ticks");
    for (what, command) in [
        ("another process", json!({"pid": std::process::id(), "started": began()})),
        (
            "a PID that was given out again",
            json!({"pid": entry["command"]["pid"], "started": started + 1}),
        ),
    ] {
        entry["command"] = command;
        // In place, so that the lock stays what it is.
        fs::write(&file, entry.to_string()).expect("a file");
        assert_eq!(session.names(), [""; 0], "{what}");
    }
    for garbage in
        [&b"{"[..], b"", b"[]", b"null", &[0xff; 64], &vec![b' '; 1 << 20], b"{\"registry\": 2}"]
    {
        fs::write(&file, garbage).expect("a file");
        assert_eq!(session.names(), [""; 0], "{:?}", garbage.get(..16));
    }
    fs::write(&file, &before).expect("a file");
    assert_eq!(session.names(), ["step1"]);
    sandbox.finish();
}

#[test]
fn a_directory_full_of_garbage_is_no_trouble() {
    let session = Session::of(Who::ordinary());
    let sandbox = session.start("step1.yaml");
    session.files(1);
    let registry = session.registry();
    let place = |name: &[u8]| registry.join(OsStr::from_bytes(name));
    symlink("/etc/passwd", place(b"link.1-1-0")).expect("a link");
    symlink("/dev/zero", place(b"zero.1-1-0")).expect("a link");
    mkfifo(&place(b"pipe.1-1-0"), Mode::from_bits_truncate(0o666)).expect("a pipe");
    fs::create_dir(place(b"directory.1-1-0")).expect("a directory");
    fs::write(place(b"\x1b[2J.1-1-0"), "x").expect("a file");
    fs::write(place(b"\xff\n.1-1-0"), "x").expect("a file");
    fs::write(place(b"no numbers"), "kept").expect("a file");
    let huge = fs::File::create(place(b"huge.1-1-0")).expect("a file");
    huge.set_len(1 << 40).or_else(|_| huge.set_len(1 << 30)).expect("a sparse file");
    let ran = session.observe(&[]).succeeds();
    assert!(ran.out().contains("step1") && !ran.out().contains("\u{1b}"), "{}", ran.out());
    assert_eq!(session.names(), ["step1"]);
    let second = session.start("step1.yaml");
    eventually("the second is there", || session.names() == ["step1", "step1-2"]);
    assert_eq!(fs::read_to_string(place(b"no numbers")).expect("not ours"), "kept");
    assert!(Path::new("/etc/passwd").exists());
    sandbox.finish();
    second.finish();
}

#[test]
fn a_place_that_is_not_the_users_alone_is_not_used_and_stops_nothing() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    type Aim<'a> = (&'a str, &'a dyn Fn(&Path));
    let aims: [Aim; 4] = [
        ("no directory", &|at| symlink(elsewhere.path(), at).expect("a link")),
        ("no directory", &|at| fs::write(at, "").expect("a file")),
        ("others may use it", &|at| {
            fs::DirBuilder::new().mode(0o755).create(at).expect("a directory");
            fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("a mode");
        }),
        ("it belongs to uid", &|at| fs::create_dir(at).expect("a directory")),
    ];
    for (why, aim) in aims {
        let session = Session::of(Who::ordinary());
        aim(&session.registry());
        let own = session.desk.who.uid();
        let is_foreign = why.starts_with("it belongs");
        if machine::own_uid() == 0 && !is_foreign {
            nix::unistd::fchownat(
                nix::fcntl::AT_FDCWD,
                &session.registry(),
                Some(own.into()),
                None,
                nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
            )
            .expect("an owner");
        }
        if is_foreign && machine::own_uid() != 0 {
            // Nobody but root can make such a directory.
            continue;
        }
        let ran =
            Ran(session.command(&["apply", "step1.yaml", "--", "true"]).output().expect("a run"));
        assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "{why}");
        let ran = session.observe(&[]).succeeds();
        assert!(ran.err().contains("warning[observe::distrusted]"), "{why}: {}", ran.err());
        assert!(ran.err().contains(why), "{why}: {}", ran.err());
    }
    assert_eq!(
        fs::read_dir(elsewhere.path()).expect("a directory").count(),
        0,
        "nothing went there"
    );
}

#[test]
fn a_runtime_directory_of_somebody_else_is_passed_over() {
    let session = Session::of(Who::ordinary());
    let mut command = session.desk.command(&["apply", "step1.yaml", "--", "true"]);
    for directory in ["/root", "/no/such/directory", "relative", ""] {
        let ran = Ran(command.env("XDG_RUNTIME_DIR", directory).output().expect("a run"));
        assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "{directory}");
    }
}

#[test]
fn the_same_name_in_two_places_is_told_apart_by_pid() {
    let (session, desk) = (Session::of(Who::ordinary()), Desk::of(Who::ordinary()));
    let name = format!("name: twin{}\n", std::process::id());
    for desk in [&session.desk, &desk] {
        desk.write("twin.yaml", &format!("isorecipe: 1\n{name}layers: []\n"));
    }
    let one = session.start("twin.yaml");
    session.files(1);
    // This one does not know of the other's directory.
    let other = desk.start("twin.yaml", "");
    let name = name_of(&desk, &other);
    let ran = session.observe(&[&name]);
    assert_eq!(ran.code(), 1);
    assert!(ran.err().contains("error[observe::ambiguous]"), "{}", ran.err());
    for pid in [one.pid(), other.supervisor()] {
        assert!(ran.err().contains(&format!("`isorecipe observe {pid}`")), "{}", ran.err());
        session.observe(&[&pid.to_string()]).succeeds();
    }
    one.finish();
    other.finish();
}

#[test]
fn through_sudo_it_is_the_users_and_root_sees_it_too() {
    let desk = Desk::of(Who::ordinary());
    if machine::own_uid() != 0 {
        // Without root there is no sudo: nobody else's sandbox is listed.
        return assert_eq!(listed(desk.who, &desk, 1), None);
    }
    let uid = desk.who.uid().to_string();
    let as_sudo = |words: &[&str]| {
        let mut command = desk.command(words);
        command.uid(0).gid(0).env("SUDO_UID", &uid).env("SUDO_GID", &uid);
        // What `sudo -E` leaves there is not the user's.
        command.env("XDG_RUNTIME_DIR", "/root");
        command
    };
    let words = ["apply", "step3.yaml", "--", "bash", "-c", "read -r line"];
    let child = as_sudo(&words).stdin(Stdio::piped()).spawn().expect("the program");
    let sandbox = Sandbox(child);
    let supervisor = sandbox.pid();
    for by in [desk.who, Who::Root] {
        eventually("it is listed", || listed(by, &desk, supervisor).is_some());
        let found = listed(by, &desk, supervisor).expect("it is listed");
        assert_eq!(found["user"]["uid"], STRANGER, "{by:?}");
        let seen = observing::json(observe_as(by, &desk, &["--json", &supervisor.to_string()]));
        assert_eq!(seen["hostname"]["sandbox"], "HOGE", "{by:?}");
        assert_eq!(seen["processes"][0]["outside"]["uid"], STRANGER, "{by:?}");
    }
    let ran = Ran(as_sudo(&["observe"]).output().expect("the program")).succeeds();
    assert!(
        ran.out().contains(&format!(" {} ", machine::children(supervisor)[0]))
            || ran.out().contains("step3")
    );
    let home = format!("/tmp/isorecipe-{STRANGER}");
    let own = format!(".{supervisor}-");
    let files = || fs::read_dir(&home).expect("the directory").flatten();
    let file = files().find(|file| file.file_name().to_string_lossy().contains(&own));
    let found = file.expect("a file").metadata().expect("its owner");
    assert_eq!((found.uid(), found.gid()), (STRANGER, STRANGER), "the user's own");
    sandbox.finish();
    assert!(files().all(|file| !file.file_name().to_string_lossy().contains(&own)));
}

#[test]
fn root_behind_sudo_follows_no_link_of_the_user() {
    let session = Session::of(Who::ordinary());
    let target = tempfile::tempdir().expect("a directory");
    symlink(target.path(), session.registry()).expect("a link");
    let uid = session.desk.who.uid().to_string();
    let mut command = session.command(&["apply", "step1.yaml", "--", "true"]);
    if machine::own_uid() == 0 {
        command.uid(0).gid(0).env("SUDO_UID", &uid).env("SUDO_GID", &uid);
    }
    assert_eq!(command.output().expect("the program").status.code(), Some(0));
    assert_eq!(fs::read_dir(target.path()).expect("a directory").count(), 0);
}

#[test]
fn a_user_does_not_see_the_sandboxes_of_others() {
    let desk = Desk::of(Who::ordinary());
    if machine::own_uid() != 0 {
        return assert_eq!(listed(desk.who, &desk, 1), None);
    }
    let roots = Desk::of(Who::Root);
    let sandbox = roots.start("step2.yaml", "");
    name_of(&roots, &sandbox);
    assert_eq!(listed(desk.who, &desk, sandbox.supervisor()), None);
    let ran = observe_as(desk.who, &desk, &[&sandbox.command().to_string()]);
    assert!(ran.err().contains("error[observe::not_yours]"), "{}", ran.err());
    sandbox.finish();
}
