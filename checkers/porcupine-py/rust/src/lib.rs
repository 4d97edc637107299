//! The compiled core of porcupine: the search of wgl.py and the zones of zones.py, quicker.
//!
//! It decides; what a person reads is made in Python from what it found. No panic leaves it: one that
//! should happen all the same becomes a PorcupineError that says how to do without this core.
#![deny(unsafe_op_in_unsafe_fn)]
#![forbid(unsafe_code)]

mod asked;
mod clock;
mod codes;
mod fuzz;
mod gates;
mod glance;
mod interner;
mod machine;
mod memory;
mod native;
mod once;
mod operation;
mod oracle;
mod parse;
mod problem;
mod reader;
mod recorded;
mod resident;
mod search;
mod straight;
mod values;
mod zones;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::clock::Clock;
use crate::machine::Machine;
use crate::native::Shape;
use crate::parse::{Gated, Parsed};
use crate::problem::Problem;
use crate::reader::{Spec, Twin};
use crate::search::{Limits, Outcome, Run};
use crate::zones::Answer;

/// Raised with every change that the Python side must know of; engine.py refuses a core of another number.
const API: u32 = 7;

/// Run something that must not panic, and turn it into an error if it does.
fn guarded<T>(py: Python<'_>, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            let error = py.import("porcupine.errors")?.getattr("PorcupineError")?;
            let text = format!("the compiled core failed ({what}); set PORCUPINE_CORE=python to do without it, and report this");
            Err(PyErr::from_value(error.call1((text,))?))
        }
    }
}

fn spec_of<'py>(spec: &Bound<'py, PyAny>) -> PyResult<Spec<'py>> {
    let kind: String = spec.getattr("kind")?.extract()?;
    Spec::new(&kind, spec.getattr("initial")?, spec.getattr("skip")?.extract()?)
}

/// Ways to where a search got stuck: the state's number, and the order.
type Ways = Vec<(u32, Vec<u32>)>;

/// One part's search. Indices are places in the list of operations it was given.
#[pyclass(module = "porcupine._core")]
struct Search {
    problem: Problem,
    machine: Box<dyn Machine>,
    run: Box<dyn Run>,
    kinds: usize,
    native: bool,
    /// For a state that only grows: the number of returns of the shortest illegal prefix, once it was
    /// looked for, and the order that explains all before the last of them.
    prefix: Option<(u32, Vec<u32>)>,
}

impl Search {
    fn drive(&mut self, py: Python<'_>, limits: Given) -> PyResult<Outcome> {
        let (problem, machine, run) = (&self.problem, &mut *self.machine, &mut *self.run);
        if self.native {
            py.detach(|| go(problem, machine, run, limits))
        } else {
            go(problem, machine, run, limits)
        }
    }
}

#[derive(Clone, Copy)]
struct Given {
    steps: Option<u64>,
    until: Option<Instant>,
    memory_bytes: Option<usize>,
    ceiling_bytes: Option<usize>,
}

fn go(problem: &Problem, machine: &mut dyn Machine, run: &mut dyn Run, given: Given) -> PyResult<Outcome> {
    let mut pulse = || Python::attach(|py| py.check_signals());
    let mut limits = Limits {
        steps: given.steps,
        until: given.until,
        memory_bytes: given.memory_bytes,
        ceiling_bytes: given.ceiling_bytes,
        pulse: &mut pulse,
    };
    run.run(problem, machine, &mut limits)
}

fn instant_after(seconds: Option<f64>) -> Option<Instant> {
    // A time too far away to be told is no limit.
    seconds.and_then(|s| Instant::now().checked_add(Duration::try_from_secs_f64(s.max(0.0)).ok()?))
}

#[pymethods]
impl Search {
    /// A search for a history that was validated; None where this core does not apply, and when `seconds` are over.
    /// `spec` names a ready model; without one the model is asked: take(place, state) gives the state after, or
    /// -1, and states.bytes what they weigh. `room_bytes`: what lists of who is open when may take.
    #[staticmethod]
    #[pyo3(signature = (operations, sees_failures, spec, readonly, take, states, partials, seconds=None, room_bytes=None))]
    #[allow(clippy::too_many_arguments)]
    fn open<'py>(
        py: Python<'py>,
        operations: &Bound<'py, PyList>,
        sees_failures: bool,
        spec: Option<&Bound<'py, PyAny>>,
        readonly: Option<&Bound<'py, PyAny>>,
        take: &Bound<'py, PyAny>,
        states: &Bound<'py, PyAny>,
        partials: bool,
        seconds: Option<f64>,
        room_bytes: Option<usize>,
    ) -> PyResult<Option<Search>> {
        guarded(py, || {
            let mut clock = Clock::new(instant_after(seconds));
            let timed = parse::beside(parse::timed(operations, sees_failures, &mut clock), py)?;
            let Some(timed) = timed else { return Ok(None) };
            let found = match spec {
                Some(spec) => parse::beside(parse::native(&timed, &spec_of(spec)?, &mut clock), py)?,
                None => None,
            };
            if clock.passed() {
                return Ok(None);
            }
            let native = found.is_some();
            let Parsed { raws, pure, machine } = match found {
                Some(parsed) => parsed,
                None => match asked::asked(&timed, readonly, take, states, &mut clock) {
                    Err(error) if clock.passed() && error.is_instance_of::<PyTimeoutError>(py) => {
                        return Ok(None);
                    }
                    other => other?,
                },
            };
            let kinds = pure.len();
            let Some(problem) = Problem::within(&raws, kinds, &pure, room_bytes) else { return Ok(None) };
            let Some(run) = search::search(&problem, kinds, problem.returns(), partials) else {
                return Ok(None);
            };
            Ok(Some(Search { problem, machine, run, kinds, native, prefix: None }))
        })
    }

    /// Whether the model's twin is used, and not the model.
    #[getter]
    fn native(&self) -> bool {
        self.native
    }

    #[getter]
    fn returns(&self) -> u32 {
        self.problem.returns()
    }

    #[getter]
    fn steps(&self) -> u64 {
        self.run.steps()
    }

    #[getter]
    fn most(&self) -> u32 {
        self.run.most()
    }

    /// "ok", "illegal", "timeout", "memory", or None when the steps were used up first. `ceiling_bytes`: what the
    /// whole process may come to, if the search itself holds more than half of `memory_bytes`.
    #[pyo3(signature = (steps, seconds, memory_bytes, ceiling_bytes=None))]
    fn run(
        &mut self,
        py: Python<'_>,
        steps: Option<u64>,
        seconds: Option<f64>,
        memory_bytes: Option<usize>,
        ceiling_bytes: Option<usize>,
    ) -> PyResult<Option<&'static str>> {
        guarded(py, || {
            let given = Given {
                steps: steps.map(|steps| self.run.steps().saturating_add(steps)),
                until: instant_after(seconds),
                memory_bytes,
                ceiling_bytes,
            };
            Ok(match self.drive(py, given)? {
                Outcome::Ok => Some("ok"),
                Outcome::Illegal => Some("illegal"),
                Outcome::Timeout => Some("timeout"),
                Outcome::Memory => Some("memory"),
                Outcome::Pause => None,
            })
        })
    }

    /// The longest order met; the full one when the verdict is "ok".
    fn best(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        guarded(py, || Ok(self.run.best(&self.problem)))
    }

    /// Orders as lists that share their numbers, for there can be millions of them.
    fn partials<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        guarded(py, || {
            let most = self.problem.ops.iter().map(|ready| ready.source as usize + 1).max().unwrap_or(0);
            let mut numbers: Vec<Option<Bound<'py, PyAny>>> = vec![None; most];
            let orders = PyList::empty(py);
            for order in self.run.partials(&self.problem) {
                let shown = PyList::empty(py);
                for place in order {
                    if numbers[place as usize].is_none() {
                        numbers[place as usize] = Some(place.into_pyobject(py)?.into_any());
                    }
                    shown.append(numbers[place as usize].as_ref())?;
                }
                orders.append(shown)?;
            }
            Ok(orders)
        })
    }

    /// Where an illegal history gets stuck: (the operation whose return no order gets past, whether one is
    /// known to explain all before it, [(state, order)] of ways there). With foresight this takes searches
    /// of prefixes, for `seconds` at most, each within `memory_bytes`.
    #[pyo3(signature = (seconds, memory_bytes=None))]
    fn stuck(
        &mut self,
        py: Python<'_>,
        seconds: f64,
        memory_bytes: Option<usize>,
    ) -> PyResult<(u32, bool, Ways)> {
        guarded(py, || {
            if !self.machine.grows() && self.run.exact() {
                let at = self.problem.by_return[self.run.furthest() as usize] as usize;
                let finals = self.run.finals(&self.problem).into_iter().map(|f| (f.state, f.order)).collect();
                return Ok((self.problem.ops[at].source, true, finals));
            }
            let given =
                Given { steps: None, until: instant_after(Some(seconds)), memory_bytes, ceiling_bytes: None };
            let (returns, order, exact) = self.shortest(py, given)?;
            let at = self.problem.by_return[returns as usize - 1] as usize;
            Ok((self.problem.ops[at].source, exact, vec![(0, order)]))
        })
    }

    /// An estimate of what is remembered, without the states of a model written in Python.
    fn held_bytes(&self) -> usize {
        self.run.held_bytes()
    }

    fn forget(&mut self, py: Python<'_>) -> PyResult<()> {
        guarded(py, || {
            self.run.forget();
            Ok(())
        })
    }
}

impl Search {
    /// The shortest illegal prefix, by halving: what explains a longer prefix explains a shorter one.
    fn shortest(&mut self, py: Python<'_>, given: Given) -> PyResult<(u32, Vec<u32>, bool)> {
        if let Some((returns, order)) = &self.prefix {
            return Ok((*returns, order.clone(), true));
        }
        let (mut legal, mut illegal) = (0, self.problem.returns());
        let mut order = Vec::new();
        while legal + 1 < illegal {
            let middle = legal + (illegal - legal) / 2;
            let Some(mut run) = search::search(&self.problem, self.kinds, middle, false) else { break };
            let (problem, machine) = (&self.problem, &mut *self.machine);
            match py.detach(|| go(problem, machine, &mut *run, given))? {
                Outcome::Ok => {
                    legal = middle;
                    order = run.best(&self.problem);
                }
                Outcome::Illegal => illegal = middle,
                _ => return Ok((illegal, order, false)),
            }
        }
        self.prefix = Some((illegal, order.clone()));
        Ok((illegal, order, true))
    }
}

/// What the zones say of a register's history: True (they apply, and find nothing wrong), False (they do not
/// apply), or None: then the zones in Python have the say. `swaps`: compare-and-set is one of its operations.
/// After `seconds` it gives up, and says None.
#[pyfunction]
#[pyo3(name = "zones", signature = (operations, initial, skip, swaps, seconds=None))]
fn zones_of<'py>(
    py: Python<'py>,
    operations: &Bound<'py, PyList>,
    initial: &Bound<'py, PyAny>,
    skip: usize,
    swaps: bool,
    seconds: Option<f64>,
) -> PyResult<Option<bool>> {
    guarded(py, || {
        let mut clock = Clock::new(instant_after(seconds));
        let columns = parse::beside(zones::read(operations, initial, skip, swaps, &mut clock), py)?;
        let answer = columns.map_or(Answer::Ask, |columns| py.detach(|| zones::judge(&columns)));
        Ok(match answer {
            Answer::Accept => Some(true),
            Answer::DoesNotApply => Some(false),
            Answer::Ask => None,
        })
    })
}

/// Whether the zones accept columns of whole numbers: kinds (0 read, 1 write, 2 compare-and-set), calls, returns
/// (the greatest number for an operation of unknown outcome), the value read, written or expected, and the
/// value swapped in.
#[pyfunction]
fn zones_columns(
    py: Python<'_>,
    kinds: pyo3::buffer::PyBuffer<u8>,
    calls: pyo3::buffer::PyBuffer<i64>,
    returns: pyo3::buffer::PyBuffer<i64>,
    values: pyo3::buffer::PyBuffer<i64>,
    news: pyo3::buffer::PyBuffer<i64>,
    initial: i64,
) -> PyResult<bool> {
    guarded(py, || {
        let (kinds, calls, returns) = (kinds.to_vec(py)?, calls.to_vec(py)?, returns.to_vec(py)?);
        let (values, news) = (values.to_vec(py)?, news.to_vec(py)?);
        py.detach(|| {
            Ok(zones::of_columns(&kinds, &calls, &returns, &values, &news, initial)
                .is_some_and(|columns| zones::judge(&columns) == Answer::Accept))
        })
    })
}

/// A gate's answer: True (legal), False (it does not apply), or None, then with the places of operations that are
/// illegal by themselves, if any; else the gate in Python has the say.
type Gate = (Option<bool>, Vec<u32>);

fn said(answer: gates::Answer) -> Gate {
    match answer {
        gates::Answer::Legal => (Some(true), Vec::new()),
        gates::Answer::DoesNotApply => (Some(false), Vec::new()),
        gates::Answer::Illegal(places) => (None, places),
        gates::Answer::Late => (None, Vec::new()),
    }
}

/// What the gate of the model `kind` says of its history. After `seconds` it gives up.
#[pyfunction]
#[pyo3(signature = (kind, operations, initial, skip, seconds=None))]
fn gate<'py>(
    py: Python<'py>,
    kind: String,
    operations: &Bound<'py, PyList>,
    initial: Bound<'py, PyAny>,
    skip: usize,
    seconds: Option<f64>,
) -> PyResult<Gate> {
    guarded(py, || {
        let mut clock = Clock::new(instant_after(seconds));
        let none = Ok((None, Vec::new()));
        let Some(timed) = parse::beside(parse::timed(operations, false, &mut clock), py)? else {
            return none;
        };
        let spec = Spec::new(&kind, initial, skip)?;
        let Some(history) = parse::beside(parse::gated(&timed, &spec, &mut clock), py)? else { return none };
        let (answer, places) = said(py.detach(|| gates::judge(&history, &|| clock.passed())));
        Ok((answer, places.into_iter().map(|place| timed[place as usize].source).collect()))
    })
}

/// The same for columns of whole numbers; see gates/columns.rs.
#[pyfunction]
#[pyo3(signature = (kind, kinds, calls, returns, values, seconds=None))]
fn gate_columns(
    py: Python<'_>,
    kind: &str,
    kinds: pyo3::buffer::PyBuffer<u8>,
    calls: pyo3::buffer::PyBuffer<i64>,
    returns: pyo3::buffer::PyBuffer<i64>,
    values: pyo3::buffer::PyBuffer<i64>,
    seconds: Option<f64>,
) -> PyResult<Gate> {
    guarded(py, || {
        let shape = match kind {
            "queue" => Shape::Queue,
            "stack" => Shape::Stack,
            "priority" => Shape::Priority,
            "set" => Shape::Set,
            _ => return Ok((None, Vec::new())),
        };
        let clock = Clock::new(instant_after(seconds));
        let (kinds, calls) = (kinds.to_vec(py)?, calls.to_vec(py)?);
        let (returns, values) = (returns.to_vec(py)?, values.to_vec(py)?);
        py.detach(|| {
            let read = gates::columns::entries_of(shape == Shape::Set, &kinds, &calls, &returns, &values);
            let Some((ops, values)) = read else { return Ok((None, Vec::new())) };
            let history = Gated::Ops { shape, ops, values, initial: 0 };
            Ok(said(gates::judge(&history, &|| clock.passed())))
        })
    })
}

/// Whether a history is valid at a glance; False, and also when `seconds` are over, leaves the question to Python.
#[pyfunction]
#[pyo3(signature = (operations, sees_failures, seconds=None))]
fn plain(
    py: Python<'_>,
    operations: &Bound<'_, PyList>,
    sees_failures: bool,
    seconds: Option<f64>,
) -> PyResult<bool> {
    guarded(py, || {
        let mut clock = Clock::new(instant_after(seconds));
        let found = parse::plain(operations, sees_failures, &mut clock).map(Some);
        Ok(parse::beside(found, py)?.unwrap_or(false))
    })
}

/// What a check of one ready model asks, for one history after the other.
#[pyclass(module = "porcupine._core", frozen)]
struct AtOnce {
    twin: Option<Twin>,
    initial: Py<PyAny>,
    skip: usize,
    keyed: bool,
    gated: bool,
}

/// Whether a history is legal; steps; parts decided, parts, and the most operations that an order explained; the
/// operations judged, and the seconds it took.
type Judged<'py> = (bool, u64, (u32, u32, u32), Bound<'py, PyTuple>, f64);

#[pymethods]
impl AtOnce {
    /// keyed: parts are told apart by the second element of an input. gated: the model's gate is asked before the
    /// search.
    #[new]
    fn new(spec: &Bound<'_, PyAny>, keyed: bool, gated: bool) -> PyResult<AtOnce> {
        let Spec { twin, initial, skip } = spec_of(spec)?;
        Ok(AtOnce { twin, initial: initial.unbind(), skip, keyed, gated })
    }

    /// A history judged at once, if that can be done. None where the ordinary way has to be gone.
    #[pyo3(signature = (operations, seconds=None, memory_bytes=None))]
    fn judge<'py>(
        &self,
        py: Python<'py>,
        operations: &Bound<'py, PyList>,
        seconds: Option<f64>,
        memory_bytes: Option<usize>,
    ) -> PyResult<Option<Judged<'py>>> {
        guarded(py, || {
            let started = Instant::now();
            let asked = once::Asked {
                keyed: self.keyed,
                gated: self.gated,
                until: instant_after(seconds),
                memory_bytes,
            };
            let spec = Spec { twin: self.twin, initial: self.initial.bind(py).clone(), skip: self.skip };
            let operations = operations.to_tuple();
            let found = parse::beside(once::judge(&operations, &spec, &asked), py)?;
            let took = started.elapsed().as_secs_f64();
            Ok(found.map(|f| (f.legal, f.steps, (f.decided, f.parts, f.most), operations, took)))
        })
    }
}

/// What is accepted of the lines of a register history of Driftline's: (operations, those judged aside, parts, operations
/// of the largest, parts accepted, lines of the others). None where all of it must be read in the ordinary way.
#[pyfunction]
#[pyo3(signature = (lines, seconds=None))]
#[allow(clippy::type_complexity)]
fn recorded_registers<'py>(
    py: Python<'py>,
    lines: &[u8],
    seconds: Option<f64>,
) -> PyResult<Option<(u32, u32, u32, u32, u32, Bound<'py, PyBytes>)>> {
    guarded(py, || {
        let until = instant_after(seconds);
        let mut pulse = || Python::attach(|py| py.check_signals());
        let found = py.detach(|| recorded::judge(lines, until, &mut pulse))?;
        Ok(found.map(|f| (f.operations, f.aside, f.parts, f.largest, f.accepted, PyBytes::new(py, &f.rest))))
    })
}

/// For benchmarks: the best seconds of some rounds for reading a ready model's history, for getting ready for the
/// search, and for the search. None where a history is not judged at once.
#[pyfunction]
fn _bench<'py>(
    py: Python<'py>,
    operations: &Bound<'py, PyList>,
    spec: &Bound<'py, PyAny>,
    keyed: bool,
    rounds: usize,
) -> PyResult<Option<[f64; 3]>> {
    guarded(py, || {
        let asked = once::Asked { keyed, gated: false, until: None, memory_bytes: None };
        once::bench(&operations.to_tuple(), &spec_of(spec)?, &asked, rounds)
    })
}

/// For benchmarks: the best seconds of some rounds from read parts to a verdict, as a check has it. None where a
/// history is not judged at once.
#[pyfunction]
fn _bench_alone<'py>(
    py: Python<'py>,
    operations: &Bound<'py, PyList>,
    spec: &Bound<'py, PyAny>,
    keyed: bool,
    rounds: usize,
) -> PyResult<Option<f64>> {
    guarded(py, || {
        let asked = once::Asked { keyed, gated: false, until: None, memory_bytes: None };
        once::bench_alone(&operations.to_tuple(), &spec_of(spec)?, &asked, rounds)
    })
}

/// The oracle's verdict on a ready model's history of at most 64 operations; None where it does not apply.
#[pyfunction]
fn _oracle<'py>(
    py: Python<'py>,
    operations: &Bound<'py, PyList>,
    sees_failures: bool,
    spec: &Bound<'py, PyAny>,
) -> PyResult<Option<bool>> {
    guarded(py, || {
        let mut clock = Clock::new(None);
        let Some(timed) = parse::timed(operations, sees_failures, &mut clock)? else { return Ok(None) };
        match parse::beside(parse::native(&timed, &spec_of(spec)?, &mut clock), py)? {
            Some(mut parsed) if parsed.raws.len() <= 64 => {
                Ok(Some(oracle::linearizable(&parsed.raws, &mut *parsed.machine)?))
            }
            _ => Ok(None),
        }
    })
}

/// Random histories of one ready model, judged by the search and by the oracle: (legal ones, illegal ones,
/// what the two disagree on).
#[pyfunction]
fn _fuzz(py: Python<'_>, model: &str, seed: u64, count: u64) -> PyResult<(u64, u64, Vec<String>)> {
    guarded(py, || {
        let mut pulse = || Python::attach(|py| py.check_signals());
        py.detach(|| fuzz::fuzz(model, seed, count, &mut pulse))
    })
}

/// Random histories of one ready model with distinct values, judged by its gate and by the oracle: (legal ones,
/// illegal ones, those to which the gate does not apply, what the two disagree on).
#[pyfunction]
fn _fuzz_gate(py: Python<'_>, model: &str, seed: u64, count: u64) -> PyResult<fuzz::gated::Count> {
    guarded(py, || {
        let mut pulse = || Python::attach(|py| py.check_signals());
        py.detach(|| fuzz::gated::fuzz(model, seed, count, &mut pulse))
    })
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("API", API)?;
    module.add_class::<operation::Operation>()?;
    module.add_class::<Search>()?;
    module.add_function(wrap_pyfunction!(zones_of, module)?)?;
    module.add_function(wrap_pyfunction!(zones_columns, module)?)?;
    module.add_function(wrap_pyfunction!(plain, module)?)?;
    module.add_class::<AtOnce>()?;
    module.add_function(wrap_pyfunction!(recorded_registers, module)?)?;
    module.add_function(wrap_pyfunction!(_bench, module)?)?;
    module.add_function(wrap_pyfunction!(_bench_alone, module)?)?;
    module.add_function(wrap_pyfunction!(gate, module)?)?;
    module.add_function(wrap_pyfunction!(gate_columns, module)?)?;
    module.add_function(wrap_pyfunction!(_oracle, module)?)?;
    module.add_function(wrap_pyfunction!(_fuzz, module)?)?;
    module.add_function(wrap_pyfunction!(_fuzz_gate, module)?)?;
    Ok(())
}
