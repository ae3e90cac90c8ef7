//! `kiln tune list | merge | export`: the records of sweeps, as files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use kiln::tuned::{Loaded, Outcome, Record, TuneStore, best};

use super::{seconds, store};
use crate::opts::RecordsAction;
use crate::remote;
use crate::ui::Ui;

/// Does what was asked for.
pub fn run(action: &RecordsAction, ui: &Ui) -> Result<ExitCode> {
    match action {
        RecordsAction::List { store: named } => list(&store(named.as_deref())?, ui)?,
        RecordsAction::Merge { inputs, output } => {
            let mut all = Loaded::default();
            for input in inputs {
                let loaded = read(input)?;
                if loaded.skipped > 0 {
                    ui.status("Skipped", &format!("{} unreadable lines of {}", loaded.skipped, input.display()));
                }
                all = all.merge(loaded);
            }
            put(output.as_deref(), &all, ui)?;
        }
        RecordsAction::Export { kernel, all, store: named, output } => {
            let mut loaded = store(named.as_deref())?.load_all()?;
            loaded.records.retain(|r| kernel.as_ref().is_none_or(|k| r.subject.kernel == *k));
            if !all {
                loaded.records = winners(&loaded.records).into_iter().cloned().collect();
            }
            put(output.as_deref(), &loaded, ui)?;
        }
        RecordsAction::Push { inputs, remote: url } => {
            let mut all = Loaded::default();
            for input in inputs {
                all = all.merge(read(input)?);
            }
            let count = remote::push(url, &all)?;
            ui.status("Pushed", &format!("{count} records to {url}"));
        }
        RecordsAction::Pull { remote: url, store: named } => {
            let local = store(named.as_deref())?;
            let new = remote::pull(url, &local)?;
            ui.status("Pulled", &format!("{new} new records from {url} to {}", local.dir().display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A file of records, or a directory of such files.
fn read(path: &Path) -> Result<Loaded> {
    let found = if path.is_dir() { TuneStore::open(path).load_all() } else { Loaded::read(path) };
    if !path.exists() {
        anyhow::bail!("there is no file or directory `{}`", path.display());
    }
    Ok(found?)
}

/// To a directory as a store, to a file, or to standard output.
fn put(output: Option<&Path>, records: &Loaded, ui: &Ui) -> Result<()> {
    let Some(path) = output else {
        ui.out(&records.text());
        return Ok(());
    };
    if path.is_dir() || path.extension().is_none() {
        let store = TuneStore::open(path);
        let known = store.load_all()?;
        let new = records.records.iter().filter(|r| !known.records.contains(r));
        new.into_iter().try_for_each(|record| store.append(record))?;
    } else {
        let part: PathBuf = path.with_extension(format!("part-{}", std::process::id()));
        std::fs::write(&part, records.text())
            .and_then(|()| std::fs::rename(&part, path))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    ui.status("Wrote", &format!("{} records to {}", records.records.len(), path.display()));
    Ok(())
}

/// What belongs to one winner: subject and key.
fn group(record: &Record) -> String {
    serde_json::to_string(&(&record.subject, &record.key, record.objective)).unwrap_or_default()
}

/// The records by what they are of, in the order of the first of each.
fn groups(records: &[Record]) -> Vec<Vec<&Record>> {
    let mut found: Vec<(String, Vec<&Record>)> = vec![];
    for record in records {
        let name = group(record);
        match found.iter_mut().find(|(n, _)| *n == name) {
            Some((_, list)) => list.push(record),
            None => found.push((name, vec![record])),
        }
    }
    found.into_iter().map(|(_, list)| list).collect()
}

fn winners(records: &[Record]) -> Vec<&Record> {
    groups(records).into_iter().filter_map(|group| best(group).map(|(record, _)| record)).collect()
}

fn list(store: &TuneStore, ui: &Ui) -> Result<()> {
    let loaded = store.load_all()?;
    if loaded.records.is_empty() {
        ui.out(&format!("{} holds no records\n", store.dir().display()));
        return Ok(());
    }
    let mut out = format!("{}\n", store.dir().display());
    for group in groups(&loaded.records) {
        let Some(first) = group.first() else { continue };
        let (subject, key) = (&first.subject, first.key.to_string());
        let types = subject.types.values().cloned().collect::<Vec<_>>().join(" ");
        let with: Vec<String> = subject.with.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let timed = group.iter().filter(|r| matches!(r.outcome, Outcome::Time(_))).count();
        let winner = match best(group.iter().copied()) {
            Some((record, timing)) => format!("{} in {}", record.config, seconds(timing.median)),
            None => "none that runs".to_owned(),
        };
        out.push_str(&format!(
            "{} {} {} {key} ({}): {winner}; {timed} of {} configurations run\n",
            subject.kernel,
            types,
            with.join(" "),
            subject.device,
            group.len()
        ));
    }
    ui.out(&out);
    Ok(())
}
