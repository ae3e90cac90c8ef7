//! The live table of a sweep: the fastest so far, a bar, and the time that is left.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln::tuned::Outcome;
use kiln_tune::sweep::Event;

use super::seconds;
use crate::ui::Ui;

/// Lines of the table.
const ROWS: usize = 6;

/// What is shown while a sweep runs, where people see it.
pub struct Live {
    rows: Vec<ProgressBar>,
    bar: ProgressBar,
    all: Option<MultiProgress>,
    /// Upper end of the interval, median, configuration; the fastest first.
    best: Vec<(f64, f64, String)>,
}

impl Live {
    /// Begins; `what` is what is swept.
    pub fn new(ui: &Ui, what: &str) -> Live {
        let bar = ui.progress(u64::MAX, "tuning");
        let (mut rows, mut all) = (vec![], None);
        if !bar.is_hidden() {
            let multi = MultiProgress::new();
            let plain = ProgressStyle::with_template("  {msg}").expect("a valid template");
            rows = (0..ROWS).map(|_| multi.add(ProgressBar::new_spinner().with_style(plain.clone()))).collect();
            multi.add(bar.clone());
            let style =
                ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {eta} left  {msg}").expect("a valid template");
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix("tuning");
            bar.set_message(what.to_owned());
            all = Some(multi);
        }
        Live { rows, bar, all, best: vec![] }
    }

    /// Shows an event.
    pub fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Begins { resumed, .. } if *resumed > 0 => self.bar.set_message(format!("{resumed} known from before")),
            Event::Begins { .. } => {}
            Event::Planned(count) => self.bar.set_length(*count as u64),
            Event::Looked { trial, first } => {
                if *first {
                    self.bar.inc(1);
                }
                self.enter(&trial.config.to_string(), trial.outcome.as_ref());
            }
        }
    }

    fn enter(&mut self, config: &str, outcome: Option<&Outcome>) {
        self.best.retain(|(_, _, name)| name != config);
        if let Some(timing) = outcome.and_then(Outcome::timing) {
            self.best.push((timing.high, timing.median, config.to_owned()));
        }
        self.best.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        for (row, (_, median, config)) in self.rows.iter().zip(&self.best) {
            row.set_message(format!("{:>12}  {config}", seconds(*median)));
        }
    }

    /// Takes it from the screen.
    pub fn end(self) {
        self.rows.iter().for_each(ProgressBar::finish_and_clear);
        self.bar.finish_and_clear();
        if let Some(all) = self.all {
            // A terminal that went away is no error.
            let _ = all.clear();
        }
    }
}
