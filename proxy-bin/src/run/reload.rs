//! SIGHUP: the configuration is read again.
//!
//! Owns what a new configuration changes, and that a wrong one changes nothing.

use super::{Running, commands};
use crate::config::{self, AccessLog, Config, ConfigError};
use crate::edge;
use crate::log;
use crate::supervise::{CommandId, FirstStart, WorkerCommand};
use signal_hook::consts::SIGHUP;
use std::time::Instant;

impl Running {
    /// Takes over what the file says now, or says why not.
    pub(super) fn reload(&mut self) {
        match self.try_reload() {
            Ok(()) => tracing::info!("the configuration has been read again"),
            Err(failures) => {
                failures.iter().for_each(|line| log::complain(line));
                tracing::error!("the configuration is not taken over, the old one stays in force");
            }
        }
    }

    /// The errors are lines for people.
    fn try_reload(&mut self) -> Result<(), Vec<String>> {
        let lines =
            |errors: Vec<ConfigError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let line = |error: &dyn std::error::Error| vec![error.to_string()];
        let config = config::load_again(&self.config.file).map_err(lines)?;
        config.warnings.iter().for_each(|what| log::complain(&format!("warning: {what}")));
        check_unchanged(&self.config, &config)?;
        let commands = commands(&config).map_err(|error| line(&error))?;
        let log = if is_same(&config.access_log, &self.config.access_log) {
            self.log.clone()
        } else {
            edge::open_log(&config).map_err(|error| line(&error))?
        };
        let edge = edge::describe(&config, log.clone()).map_err(|error| line(&error))?;
        let control = self.changed_control(&config).map_err(|error| line(&error))?;
        self.handle.reload((self.more)(edge)).map_err(|error| line(&error))?;
        if let Some(control) = control {
            self.control = control;
        }
        (self.config, self.log) = (config, log);
        self.generation += 1;
        self.change_workers(commands);
        Ok(())
    }

    /// New commands are started, those that stay get the signal, and the others leave.
    fn change_workers(&mut self, wanted: Vec<WorkerCommand>) {
        self.leaving.reconsider();
        let old: Vec<(CommandId, WorkerCommand)> =
            self.supervisor.active().map(|(id, command)| (id, command.clone())).collect();
        for command in wanted.iter().filter(|wanted| !old.iter().any(|(_, old)| old == *wanted)) {
            match self.supervisor.start(command.clone(), FirstStart::IsRepeated) {
                Ok(id) => {
                    if self.not_ready.is_empty() {
                        self.noted = Instant::now();
                    }
                    self.not_ready.insert(id);
                }
                Err(error) => {
                    tracing::error!(%error, "no thread for the workers of {}", command.pool);
                }
            }
        }
        for (id, command) in old {
            let successor = wanted.iter().find(|wanted| wanted.socket == command.socket);
            if wanted.contains(&command) {
                self.supervisor.signal_one(id, SIGHUP);
            } else if let Some(successor) = successor
                && let Some(successor) = self.id_of(successor)
            {
                self.leaving.replace(id, successor);
            } else {
                self.leaving.remove(id, command.socket);
            }
        }
    }

    fn id_of(&self, command: &WorkerCommand) -> Option<CommandId> {
        let mut active = self.supervisor.active();
        active.find(|(_, other)| *other == command).map(|(id, _)| id)
    }
}

/// Whatever line it stands on.
fn is_same(one: &AccessLog, other: &AccessLog) -> bool {
    match (one, other) {
        (AccessLog::File(one), AccessLog::File(other)) => one.value == other.value,
        _ => one == other,
    }
}

/// What cannot change while it runs.
fn check_unchanged(old: &Config, new: &Config) -> Result<(), Vec<String>> {
    let name = |name: &Option<config::At<String>>| name.as_ref().map(|name| name.value.clone());
    let changed = [
        ("listen", old.listen != new.listen),
        ("reactors", old.reactors != new.reactors),
        ("user", name(&old.user) != name(&new.user)),
        ("group", name(&old.group) != name(&new.group)),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    let complaint = |(key, _)| {
        format!("{}: `{key}` in [server] has changed: that needs a restart", new.file.display())
    };
    let complaints: Vec<_> = changed.map(complaint).collect();
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}
