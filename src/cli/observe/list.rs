//! The sandboxes that run, as a table.

use crate::observe::Listed;

use super::{
    sheet::{Pen, Sheet, Weight, age, cell, widest},
    view::called,
};

const HEAD: [&str; 7] = ["NAME", "PID", "USER", "OWN", "SINCE", "PAUSED", "COMMAND"];
/// The column that changes by itself.
const SINCE: usize = 4;

pub(super) fn sheet(sandboxes: &[Listed], now: u64, pen: Pen) -> Sheet {
    let rows: Vec<[String; 7]> = sandboxes.iter().map(|listed| row(listed, now, pen)).collect();
    let head = HEAD.map(str::to_owned);
    // A column in which nothing stands says nothing.
    let is_shown = |column: usize| {
        let is_paused = sandboxes.iter().any(|listed| listed.sandbox.paused.is_some());
        let users = sandboxes.iter().map(|listed| listed.user.uid);
        let is_of_many = users.clone().max() != users.min();
        match column {
            2 => is_of_many,
            5 => is_paused,
            _ => true,
        }
    };
    let shown: Vec<usize> = (0..HEAD.len()).filter(|&column| is_shown(column)).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column));
        widest(cells.map(String::as_str))
    };
    let widths: Vec<usize> = shown.iter().map(|&column| width(column)).collect();
    let line = |row: &[String; 7], blank: Option<usize>| {
        let cells = shown.iter().zip(&widths).map(|(&column, &width)| {
            let text = row.get(column).filter(|_| blank != Some(column));
            cell(text.map_or("", String::as_str), width)
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut sheet = Sheet::default();
    sheet.keyed_line(Weight::Strong, line(&head, None), None);
    for row in &rows {
        sheet.keyed_line(Weight::Plain, line(row, None), Some(line(row, Some(SINCE))));
    }
    sheet
}

fn row(listed: &Listed, now: u64, pen: Pen) -> [String; 7] {
    let sandbox = &listed.sandbox;
    let own = match &listed.own {
        Some(own) if own.is_empty() => pen.nothing().to_owned(),
        Some(own) => own.join(","),
        None => "?".to_owned(),
    };
    [
        sandbox.name.clone(),
        sandbox.pid.to_string(),
        called(&listed.user),
        own,
        age(now.saturating_sub(sandbox.began)),
        sandbox.paused.as_deref().map_or(String::new(), |layer| match layer {
            "" => "at the start".to_owned(),
            layer => format!("after {layer}"),
        }),
        listed.command.clone(),
    ]
}
