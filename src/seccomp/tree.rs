//! The instructions of a filter, laid out from their end: a jump goes forward
//! only, so what it leads to is there before it.
//!
//! Loading a filter costs by the instruction, and the kernel walks it for each
//! number: so an answer stands there once, neighbours that get one answer are
//! one leaf, and a lone number among such neighbours is one question, not two.

use libc::sock_filter;

use super::{
    compile::{ALWAYS, AT_LEAST, EQUAL, jump, plain},
    policy::Action,
};

/// The farthest that a conditional jump goes, with room for two more that
/// take the rest of the way.
const FARTHEST: usize = u8::MAX as usize - 2;

/// So many lone numbers are asked for one after the other.
const MOST_ALONE: usize = 3;

/// What is done with a number.
pub(super) enum Leaf {
    /// It gets this answer
    Answer(Action),
    /// These instructions say which
    Code(Vec<sock_filter>),
}

impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &sock_filter| (it.code, it.jt, it.jf, it.k);
        match (self, other) {
            (Self::Answer(one), Self::Answer(other)) => one == other,
            (Self::Code(one), Self::Code(other)) => {
                one.iter().map(parts).eq(other.iter().map(parts))
            }
            _ => false,
        }
    }
}

/// Numbers from here to the next run: all get one answer, but for a few.
struct Run<'l> {
    from: u32,
    leaf: &'l Leaf,
    alone: Vec<(u32, &'l Leaf)>,
}

/// The instructions that do with each number what its leaf says; each leaf is
/// for all numbers up to the next, and the first is for 0. The number is in the
/// accumulator.
pub(super) fn tree(
    leaves: &[(u32, Leaf)],
    give: impl Fn(Action) -> sock_filter,
) -> Vec<sock_filter> {
    let mut layout = Layout { backwards: Vec::new(), answers: Vec::new(), give };
    layout.runs(&runs(leaves));
    layout.backwards.reverse();
    layout.backwards
}

/// Takes a lone number with the neighbours on both its sides, where those get one answer.
fn runs(leaves: &[(u32, Leaf)]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut rest = leaves;
    while let [(from, leaf), after @ ..] = rest {
        let mut run = Run { from: *from, leaf, alone: Vec::new() };
        rest = after;
        while let [(number, alone), (next, other), after @ ..] = rest
            && *next == number + 1
            && other == leaf
            && matches!(leaf, Leaf::Answer(_))
            && run.alone.len() < MOST_ALONE
        {
            run.alone.push((*number, alone));
            rest = after;
        }
        runs.push(run);
    }
    runs
}

/// A program as it grows, its last instruction first.
struct Layout<G> {
    backwards: Vec<sock_filter>,
    /// Where each answer stands, nearest to the front
    answers: Vec<(Action, usize)>,
    give: G,
}

/// A place in the program, counted from its end; and the answer, if it is one.
type Place = (usize, Option<Action>);

impl<G: Fn(Action) -> sock_filter> Layout<G> {
    /// Halves the runs until one is left.
    fn runs(&mut self, runs: &[Run]) -> Place {
        let (below, from) = runs.split_at(runs.len() / 2);
        match (below, from) {
            ([], [run]) => self.run(run),
            (_, [first, ..]) => {
                let from = self.runs(from);
                let below = self.runs(below);
                self.ask(AT_LEAST, first.from, from, below)
            }
            (_, []) => self.answer(Action::Kill),
        }
    }

    fn run(&mut self, run: &Run) -> Place {
        let mut otherwise = self.leaf(run.leaf);
        for (number, leaf) in &run.alone {
            let leaf = self.leaf(leaf);
            otherwise = self.ask(EQUAL, *number, leaf, otherwise);
        }
        otherwise
    }

    fn leaf(&mut self, leaf: &Leaf) -> Place {
        match leaf {
            Leaf::Answer(action) => self.answer(*action),
            Leaf::Code(code) => {
                self.backwards.extend(code.iter().rev());
                (self.backwards.len() - 1, None)
            }
        }
    }

    fn answer(&mut self, action: Action) -> Place {
        let known = self.answers.iter().find(|(known, _)| *known == action);
        match known.filter(|(_, place)| self.distance(*place) <= FARTHEST) {
            Some((_, place)) => (*place, Some(action)),
            None => self.answer_anew(action),
        }
    }

    fn answer_anew(&mut self, action: Action) -> Place {
        let place = self.push((self.give)(action));
        self.answers.retain(|(known, _)| *known != action);
        self.answers.push((action, place));
        (place, Some(action))
    }

    /// A question about the number, and where the answers lead.
    fn ask(&mut self, how: u16, number: u32, yes: Place, no: Place) -> Place {
        let yes = self.within_reach(yes);
        let no = self.within_reach(no);
        let near = |place: usize| u8::try_from(self.distance(place)).unwrap_or(u8::MAX);
        let question = jump(how, number, near(yes), near(no));
        (self.push(question), None)
    }

    /// The same place, or one nearer that leads there.
    fn within_reach(&mut self, (place, answer): Place) -> usize {
        match (self.distance(place), answer) {
            (0..=FARTHEST, _) => place,
            (_, Some(action)) => self.answer_anew(action).0,
            (far, None) => self.push(plain(ALWAYS, far as u32)),
        }
    }

    /// How many instructions a jump skips that would come next.
    fn distance(&self, place: usize) -> usize {
        self.backwards.len() - place - 1
    }

    fn push(&mut self, instruction: sock_filter) -> usize {
        self.backwards.push(instruction);
        self.backwards.len() - 1
    }
}
