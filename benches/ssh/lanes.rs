//! The ways to the target that are compared.

use std::time::Duration;

use crate::fixture::bastion::{ALICE, OPEN};
use crate::fixture::process::{Running, Stdout, cpu, cpu_of_children, memory};
use crate::fixture::{Bastion, LIMIT, Route, Sshd, free_port, until};

/// One way, by its place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    Direct,
    Jump,
    Strict,
    Bounded,
}

impl Lane {
    pub const ALL: [Self; 4] = [Self::Direct, Self::Jump, Self::Strict, Self::Bounded];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Jump => "jump",
            Self::Strict => "strict",
            Self::Bounded => "bounded",
        }
    }
}

/// What the bastion keeps of the bytes; says nothing to the other lanes.
#[derive(Clone, Copy)]
pub enum Kept {
    Full,
    Digest,
}

/// The programs behind all lanes.
pub struct Lanes {
    chosen: Vec<Lane>,
    target: Sshd,
    jump: Sshd,
    bastion: Option<Bastion>,
    /// The bastion's memory before its first session, in KiB.
    fresh_pss: u64,
    /// A port that leads through the jump host to the target, for a client that cannot start `ssh -W` itself.
    forward: u16,
    _forwarder: Running,
}

impl Lanes {
    pub fn start() -> Self {
        let wanted = std::env::var("BENCH_LANES").unwrap_or_else(|_| "direct,jump,strict,bounded".to_owned());
        let chosen: Vec<Lane> = Lane::ALL.into_iter().filter(|lane| wanted.contains(lane.name())).collect();
        let (target, jump) = (Sshd::start(), Sshd::start());
        let with_bastion = chosen.iter().any(|lane| matches!(lane, Lane::Strict | Lane::Bounded));
        let bastion = with_bastion.then(|| bastion(&target));
        let (forwarder, forward) = until(LIMIT, "forward", || {
            let port = free_port();
            let flags = format!("{port}:127.0.0.1:{}", target.port);
            let ssh = jump.direct().with("ExitOnForwardFailure=yes").ssh(&["-N", "-L", &flags], "");
            let mut running = Running::start(ssh, Stdout::Gathered);
            crate::fixture::sshd::greeted(&mut running, port).then_some((running, port))
        });
        let fresh_pss = bastion.as_ref().map_or(0, |bastion| memory(bastion.pid(), "smaps_rollup", "Pss"));
        Self { chosen, target, jump, bastion, fresh_pss, forward, _forwarder: forwarder }
    }

    /// The lanes of this run.
    pub fn names(&self) -> &[Lane] {
        &self.chosen
    }

    /// Those of this run that lead through Doorward.
    pub fn doorward(&self) -> impl Iterator<Item = Lane> + '_ {
        self.chosen.iter().copied().filter(|lane| matches!(lane, Lane::Strict | Lane::Bounded))
    }

    /// How stock `ssh` takes this lane, with these options on every hop.
    pub fn route(&self, lane: Lane, kept: Kept, options: &[&str]) -> Route {
        let with = |route: Route| options.iter().fold(route, |route, option| route.with(option));
        match lane {
            Lane::Direct => with(self.target.direct()),
            Lane::Jump => {
                // What `-J` does, with our options on the first hop too.
                let hop = with(self.jump.direct()).ssh(&["-W", "[%h]:%p"], "");
                let words: Vec<String> = hop.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
                with(self.target.direct()).with(&format!("ProxyCommand=ssh {}", words.join(" ")))
            }
            Lane::Strict | Lane::Bounded => {
                let what = match kept {
                    Kept::Full => "full",
                    Kept::Digest => "digest",
                };
                let login = format!("{}@{what}-{}", self.target.account, lane.name());
                with(self.bastion().login(&login))
            }
        }
    }

    /// How stock `ssh` takes this lane to another machine, which the bastion gets to know by this number.
    pub fn route_to(&self, lane: Lane, number: usize, sshd: &Sshd) -> Route {
        match lane {
            Lane::Direct => sshd.direct(),
            Lane::Jump => Route { options: self.route(lane, Kept::Full, &[]).options, ..sshd.direct() },
            Lane::Strict | Lane::Bounded => {
                let name = format!("m{number}-{}", lane.name());
                let label = format!("kept=full-{}", lane.name());
                self.bastion().add_target(&name, sshd);
                self.bastion().doorward(&["target", "set", &name, "--label", &label]).ok();
                self.bastion().set_key(&format!("{}@{name}", sshd.account), &sshd.key);
                self.bastion().login(&format!("{}@{name}", sshd.account))
            }
        }
    }

    /// The port at which strangers meet what the lane leads through: the target, where it leads through nothing.
    pub fn door(&self, lane: Lane) -> u16 {
        match lane {
            Lane::Direct => self.target.port,
            Lane::Jump => self.jump.port,
            Lane::Strict | Lane::Bounded => self.bastion().port,
        }
    }

    /// How our own client takes this lane: it connects once and needs no options.
    pub fn own_route(&self, lane: Lane) -> Route {
        match lane {
            Lane::Jump => Route { port: self.forward, ..self.target.direct() },
            Lane::Direct | Lane::Strict | Lane::Bounded => self.route(lane, Kept::Full, &[]),
        }
    }

    /// CPU time of the hop so far: nothing on the direct lane.
    pub fn hop_cpu(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Direct => Duration::ZERO,
            Lane::Jump => cpu_of_children(self.jump.pid()),
            Lane::Strict | Lane::Bounded => cpu(self.bastion().pid()),
        }
    }

    /// The process whose children are the sessions of a lane without a bastion.
    pub fn sshd_pid(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Direct => self.target.pid(),
            Lane::Jump => self.jump.pid(),
            Lane::Strict | Lane::Bounded => self.bastion().pid(),
        }
    }

    /// The bastion's memory before its first session, in KiB.
    pub fn fresh_pss(&self) -> u64 {
        self.fresh_pss
    }

    /// The bastion. The lanes that need it are only chosen when it runs.
    pub fn bastion(&self) -> &Bastion {
        self.bastion.as_ref().unwrap()
    }
}

/// One bastion; its targets are all the same machine, and their labels decide what is kept and how.
fn bastion(target: &Sshd) -> Bastion {
    let mut bastion = Bastion::init();
    bastion.add_user(ALICE, "dba", &bastion.key);
    let mut policy = "schema = 1\n".to_owned();
    for what in ["full", "digest"] {
        for durability in ["strict", "bounded"] {
            let name = format!("{what}-{durability}");
            let recording = format!(
                "recording = {{ durability = \"{durability}\", exec = \"{what}\", stdin = \"{what}\", exec_cap = \"64GiB\" }}"
            );
            let open = OPEN.replace(r#"["shell", "exec"]"#, r#"["shell", "exec", "sftp-read", "sftp-write"]"#);
            let rule = open.replace("schema = 1\n", "").replace("\"dba\"\n", &format!("\"{name}\"\n"));
            policy += &format!("{}{recording}\n", rule.replace("env = \"test\"", &format!("kept = \"{name}\"")));
            bastion.add_target(&name, target);
            bastion.doorward(&["target", "set", &name, "--label", &format!("kept={name}")]).ok();
            bastion.set_key(&format!("{}@{name}", target.account), &target.key);
        }
    }
    bastion.policy(&policy);
    bastion.configure("ssh", "max_unauthenticated = 1000\nmax_connections_per_user = 1000");
    bastion.serve();
    bastion
}
