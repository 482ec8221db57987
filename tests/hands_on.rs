//! The hands-on, as two people follow it: Console 1 is inside, Console 2 looks from the host, and what each step states
//! is held line by line.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/terminal.rs"]
mod terminal;

use machine::own_uid;
use terminal::Terminal;

/// What Console 2 sees of a sandbox.
struct Seen(String);

impl Seen {
    fn by(console_2: &Terminal, sandbox: &str) -> Self {
        Self(console_2.says(&format!("./isorecipe observe {sandbox}")))
    }

    /// The words of the line that begins with this one.
    #[track_caller]
    fn row(&self, name: &str) -> Vec<&str> {
        let rows = self.0.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut rows = rows.filter(|row| row.first() == Some(&name));
        rows.next().unwrap_or_else(|| panic!("no line {name:?} in\n{}", self.0))
    }

    /// The kinds of namespaces that are the sandbox's own.
    fn own(&self) -> Vec<&str> {
        let is_own = |kind: &&str| self.row(kind).contains(&"own");
        ["user", "uts", "pid", "mnt", "net", "ipc", "cgroup", "time"]
            .into_iter()
            .filter(is_own)
            .collect()
    }

    /// The process of this command: host PID, user there, PID inside, user inside.
    #[track_caller]
    fn process(&self, command: &str) -> [String; 4] {
        let is_meant = |line: &&str| line.ends_with(&format!("└─ {command}"));
        let line = self.0.lines().find(is_meant);
        let line = line.unwrap_or_else(|| panic!("no process {command:?} in\n{}", self.0));
        let mut words = line.split_whitespace().map(str::to_owned);
        [(); 4].map(|()| words.next().expect("a column"))
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.0.contains(text), "no {text:?} in\n{}", self.0);
    }
}

/// Two consoles, and a shell in a sandbox at the first.
struct Consoles {
    inside: Terminal,
    host: Terminal,
}

const PROMPT: &str = "inner>";
const SHELL: &str = "bash --norc --noprofile";

impl Consoles {
    fn open() -> Self {
        let inside = Terminal::open();
        let host = inside.beside();
        Self { inside, host }
    }

    /// Console 1 enters the sandbox of a recipe.
    fn enter(&self, recipe: &str) {
        let apply = self.inside.apply(recipe, SHELL);
        self.inside.type_line(&format!("PS1='{PROMPT} ' {apply}"));
        self.inside.expect(PROMPT);
    }

    fn leave(&self) {
        self.inside.type_line("exit");
        self.inside.expect_prompt();
    }

    fn uid(&self) -> String {
        self.host.desk.who.uid().to_string()
    }
}

#[test]
fn step_0_nothing_is_isolated() {
    let consoles = Consoles::open();
    consoles.enter("step0.yaml");
    let own = consoles.inside.says("echo $$");
    let seen = Seen::by(&consoles.host, "step0");
    assert_eq!(seen.own(), Vec::<&str>::new(), "{}", seen.0);
    let [host_pid, host_user, pid, user] = seen.process(SHELL);
    assert_eq!((&host_pid, &pid), (&own, &own), "the same PIDs");
    assert_eq!(host_user, user, "the same users");
    let same = "hostname; id; stat -Lc %i /proc/self/ns/*";
    assert_eq!(consoles.inside.says(same), consoles.host.says(same), "the same everything");
    consoles.leave();
}

#[test]
fn step_1_without_a_map_nobody_has_an_id_and_console_2_writes_the_map() {
    let consoles = Consoles::open();
    let (inside, host, uid) = (&consoles.inside, &consoles.host, consoles.uid());
    // Console 1: the namespace is there, and nobody has an id in it.
    let apply =
        "./isorecipe apply --pause-after user step1-unmapped.yaml -- bash --norc --noprofile";
    inside.type_line(&format!("PS1='{PROMPT} ' {apply}"));
    inside.expect_within("paused after layer 1, `user`");
    inside.expect_within("`q` ends it here");
    let seen = Seen::by(host, "step1-unmapped");
    assert_eq!(seen.own(), ["user"], "{}", seen.0);
    seen.says("paused after the layer user");
    // Console 2: only one's own id can be given away.
    let screen = inside.screen();
    let typed: Vec<&str> =
        screen.lines().map(str::trim).filter(|line| line.starts_with("echo ")).collect();
    assert_eq!(typed.len(), 3, "{screen}");
    let stolen = typed[1].replace(&format!("\"0 {uid} 1\""), "\"0 0 1\"");
    assert!(host.says(&stolen).ends_with("write error: Operation not permitted"));
    for line in typed {
        assert_eq!(host.says(line), "", "{line}");
    }
    // Console 1: the same process is root now.
    inside.type_line("");
    inside.expect(PROMPT);
    assert!(inside.says("id").starts_with("uid=0(root) gid=0(root) groups=0(root)"));
    let seen = Seen::by(host, "step1-unmapped");
    assert_eq!(seen.row("uid")[1], uid, "{}", seen.0);
    assert_eq!(seen.row("setgroups"), ["setgroups", "deny"]);
    let [pid, user, ..] = seen.process(SHELL);
    assert_eq!(host.says(&format!("ps -o uid= -p {pid}")).trim(), uid, "still the ordinary user");
    assert!(user == uid || user == host.says("id -un"), "{user}");
    consoles.leave();
}

#[test]
fn step_1_shows_65534_until_there_is_a_map() {
    let consoles = Consoles::open();
    consoles.enter("step1-unmapped.yaml");
    assert!(consoles.inside.says("id").starts_with("uid=65534(nobody) gid=65534(nogroup)"));
    let seen = Seen::by(&consoles.host, "step1-unmapped");
    assert_eq!(seen.row("setgroups"), ["setgroups", "allow"]);
    consoles.leave();
}

#[test]
fn step_1_in_one_go_is_root_inside_and_closed_outside() {
    let consoles = Consoles::open();
    consoles.enter("step1.yaml");
    assert!(consoles.inside.says("id").starts_with("uid=0(root) gid=0(root) groups=0(root)"));
    let refused = consoles.inside.says("touch /etc/hogehage");
    assert_eq!(refused, "touch: cannot touch '/etc/hogehage': Permission denied");
    let seen = Seen::by(&consoles.host, "step1");
    assert_eq!(seen.own(), ["user"], "{}", seen.0);
    let row = seen.row("uid");
    assert_eq!(row[1], consoles.uid(), "{}", seen.0);
    assert!(row.ends_with(&["0", "root"]), "{}", seen.0);
    // Root, it says; and the hostname is the host's all the same.
    let refused = consoles.inside.says("hostname HOGE");
    assert_eq!(refused, "hostname: you must be root to change the host name");
    consoles.leave();
}

#[test]
fn step_2_has_a_name_of_its_own_and_the_host_keeps_its() {
    let consoles = Consoles::open();
    let before = consoles.host.says("hostname");
    consoles.enter("step2.yaml");
    assert_eq!(consoles.inside.says("hostname"), "HOGE");
    assert_eq!(consoles.inside.says("hostname hagehage; hostname"), "hagehage");
    let seen = Seen::by(&consoles.host, "step2");
    assert_eq!(seen.own(), ["user", "uts"], "{}", seen.0);
    assert_eq!(seen.row("hostname"), ["hostname", &before, "hagehage"]);
    assert_eq!(consoles.host.says("hostname"), before);
    consoles.leave();
    let refused = consoles.inside.says("./isorecipe apply step2-no-uts.yaml");
    assert!(
        refused.contains("error[hostname::shared]: this hostname belongs to the host"),
        "{refused}"
    );
    assert!(refused.contains("help: put a `uts` layer before it"), "{refused}");
}

#[test]
fn step_3_sees_two_processes_and_bash_is_the_first() {
    let consoles = Consoles::open();
    consoles.enter("step3.yaml");
    let inside = consoles.inside.says("ps -ef");
    let rows: Vec<Vec<&str>> =
        inside.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{inside}");
    assert_eq!(rows[1][..3], ["root", "1", "0"], "{inside}");
    assert!(inside.lines().last().expect("a line").ends_with("ps -ef"), "{inside}");
    let seen = Seen::by(&consoles.host, "step3");
    assert_eq!(seen.own(), ["user", "uts", "pid", "mnt"], "{}", seen.0);
    let [host_pid, _, pid, user] = seen.process(SHELL);
    assert_ne!(host_pid, "1");
    assert_eq!((pid.as_str(), user.as_str()), ("1", "root"));
    let parent = consoles.host.says(&format!("ps -o args= -p $(ps -o ppid= -p {host_pid})"));
    assert!(parent.ends_with(&format!("isorecipe apply step3.yaml -- {SHELL}")), "{parent}");
    seen.says("+ /proc");
    consoles.leave();
}

#[test]
fn step_4_has_a_root_of_its_own_that_stays_as_it_was() {
    let consoles = Consoles::open();
    assert_eq!(
        consoles.host.says("./isorecipe build step4-rootless.yaml >/dev/null; echo $?"),
        "0"
    );
    hold_step_4(&consoles, "step4-rootless", "rootfs");
}

#[test]
fn step_4_with_an_image_that_root_builds_is_the_users_all_the_same() {
    if own_uid() != 0 {
        let consoles = Consoles::open();
        let refused = consoles.inside.says("./isorecipe build step4.yaml");
        assert!(refused.contains("error[build::needs_root]"), "{refused}");
        return;
    }
    let inside = Terminal::behind_sudo();
    let host = inside.beside();
    let consoles = Consoles { inside, host };
    assert_eq!(consoles.inside.says("./isorecipe build step4.yaml >/dev/null; echo $?"), "0");
    hold_step_4(&consoles, "step4", "rootfs.dat");
    // Nothing of the host's is left in use.
    assert_eq!(consoles.inside.says("losetup --associated rootfs.dat"), "");
}

/// What both ways of step 4 state.
fn hold_step_4(consoles: &Consoles, name: &str, lower: &str) {
    let (inside, host) = (&consoles.inside, &consoles.host);
    let listed = "stat -c '%n %s %Y' ";
    let mounts = host.says("cat /proc/self/mountinfo | cksum");
    let before = host.says(&format!("find {lower} | sort | xargs {listed}"));
    consoles.enter(&format!("{name}.yaml"));
    assert!(!inside.says("ls -a /").contains("old"), "the old root is gone, and its directory");
    let seen_inside = inside.says("mount");
    let places: Vec<&str> =
        seen_inside.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(places, ["/", "/dev/null", "/dev/zero", "/proc"], "{seen_inside}");
    assert_eq!(inside.says("ps -ef").lines().count(), 3);
    assert_eq!(inside.says("ls /dev; echo > /dev/null"), "null  zero");
    assert_eq!(inside.says("touch hogehage"), "");
    let seen = Seen::by(host, name);
    assert_eq!(seen.own(), ["user", "uts", "pid", "mnt"], "{}", seen.0);
    assert_eq!(seen.row("hostname")[2], "HOGE");
    seen.says("A /hogehage");
    let [host_pid, ..] = seen.process(SHELL);
    let uid = host.says(&format!("ps -o uid= -p {host_pid}"));
    assert_eq!(uid.trim(), consoles.uid(), "it runs as the ordinary user");
    assert_eq!(host.says("ls upper"), "hogehage", "a new file is in upper");
    assert_eq!(host.says("ls merged"), "");
    assert_eq!(host.says("cat /proc/self/mountinfo | cksum"), mounts, "the host has none of it");
    consoles.leave();
    let changed = host.says(&format!("./isorecipe diff {name}.yaml"));
    assert!(changed.starts_with("A  hogehage"), "{changed}");
    let after = host.says(&format!("find {lower} | sort | xargs {listed}"));
    assert_eq!(after, before, "lower is as it was");
}
