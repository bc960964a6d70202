//! Schedules against PyTorch's recurrences, their edges and their form in a recipe.

use super::*;
use std::f64::consts::PI;

/// Learning rates of the first steps from a base of 0.05.
fn rates(schedule: &Schedule, steps: u64) -> Vec<f64> {
    schedule.validate().unwrap();
    (0..steps).map(|t| schedule.lr(t, 0.05)).collect()
}

#[track_caller]
fn assert_close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (t, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= 1e-12 + 1e-9 * want.abs(),
            "step {t}: {got} {want}"
        );
    }
}

/// The learning rates of a recurrence: `next(t, lr)` is the one of step `t` after `lr`.
fn recurrence(first: f64, steps: u64, next: impl Fn(u64, f64) -> f64) -> Vec<f64> {
    let mut lr = first;
    let mut all = vec![lr];
    for t in 1..steps {
        lr = next(t, lr);
        all.push(lr);
    }
    all
}

#[test]
fn falls() {
    let step = Schedule::Step {
        step_size: 4,
        gamma: 0.5,
    };
    let want = recurrence(0.05, 20, |t, lr| if t % 4 == 0 { lr * 0.5 } else { lr });
    assert_close(&rates(&step, 20), &want);

    let multi = Schedule::MultiStep {
        milestones: vec![8, 3, 8],
        gamma: 0.1,
    };
    let want = recurrence(0.05, 20, |t, lr| match t {
        3 => lr * 0.1,
        8 => lr * 0.01,
        _ => lr,
    });
    assert_close(&rates(&multi, 20), &want);

    let exponential = Schedule::Exponential { gamma: 0.9 };
    assert_close(
        &rates(&exponential, 20),
        &recurrence(0.05, 20, |_, lr| lr * 0.9),
    );
}

#[test]
fn ways() {
    let cosine = Schedule::Cosine {
        t_max: 10,
        eta_min: 0.01,
    };
    let cos = |t: u64| (PI * t as f64 / 10.0).cos();
    let want = recurrence(0.05, 20, |t, lr| {
        if t == 11 {
            lr + (0.05 - 0.01) * (1.0 - (PI / 10.0).cos()) / 2.0
        } else {
            (1.0 + cos(t)) / (1.0 + cos(t - 1)) * (lr - 0.01) + 0.01
        }
    });
    assert_close(&rates(&cosine, 20), &want);
    assert_close(&[cosine.lr(20_000_000, 0.05)], &[0.05]);

    let linear = Schedule::Linear {
        start_factor: 0.1,
        end_factor: 1.0,
        total_iters: 5,
    };
    let want = recurrence(0.005, 20, |t, lr| {
        if t > 5 {
            lr
        } else {
            lr * (1.0 + 0.9 / (0.5 + (t as f64 - 1.0) * 0.9))
        }
    });
    assert_close(&rates(&linear, 20), &want);

    let polynomial = Schedule::Polynomial {
        total_iters: 10,
        power: 2.0,
    };
    let want = recurrence(0.05, 20, |t, lr| {
        if t > 10 {
            lr
        } else {
            let t = t as f64;
            lr * ((1.0 - t / 10.0) / (1.0 - (t - 1.0) / 10.0)).powi(2)
        }
    });
    assert_close(&rates(&polynomial, 20), &want);

    let constant = Schedule::Constant {
        factor: 0.5,
        total_iters: 2,
    };
    assert_close(&rates(&constant, 4), &[0.025, 0.025, 0.05, 0.05]);
}

#[test]
fn restarts_begin_at_the_top_and_grow_longer() {
    let restarts = |t_mult| Schedule::CosineRestarts {
        t_0: 4,
        t_mult,
        eta_min: 0.01,
    };
    // Halfway down is the mean of both ends; with t_mult 2 the ways begin at 0, 4, 12, 28.
    let doubling = restarts(2);
    let got = [0, 2, 4, 8, 12, 20, 28].map(|t| doubling.lr(t, 0.05));
    assert_close(&got, &[0.05, 0.03, 0.05, 0.03, 0.05, 0.03, 0.05]);
    let even = restarts(1);
    let got = [0, 2, 4, 6, 4_000_002].map(|t| even.lr(t, 0.05));
    assert_close(&got, &[0.05, 0.03, 0.05, 0.03, 0.03]);
    assert!(restarts(0).validate().is_err());
    for t_mult in [0, 2, u64::MAX] {
        let _ = restarts(t_mult).lr(u64::MAX, 0.05);
    }
}

#[test]
fn one_cycle_meets_its_corners() {
    let cycle = |three_phase, pct_start, anneal_strategy| Schedule::OneCycle {
        max_lr: 0.1,
        total_steps: 20,
        epochs: 0,
        steps_per_epoch: 0,
        pct_start,
        anneal_strategy,
        div_factor: 25.0,
        final_div_factor: 1e4,
        three_phase,
        cycle_momentum: true,
        base_momentum: 0.85,
        max_momentum: 0.95,
    };
    let last = 0.1 / 25.0 / 1e4;
    for anneal in [Anneal::Cos, Anneal::Linear] {
        // 0.3 · 20 − 1 = 5 is the top, 19 the end; after it the last learning rate stays.
        let two = cycle(false, 0.3, anneal);
        let got = [0, 5, 19, 20, 1000].map(|t| two.lr(t, 7.0));
        assert_close(&got, &[0.004, 0.1, last, last, last]);
        let three = cycle(true, 0.3, anneal);
        let got = [0, 5, 10, 19].map(|t| three.lr(t, 7.0));
        assert_close(&got, &[0.004, 0.1, 0.004, last]);
    }
    let linear = cycle(false, 0.3, Anneal::Linear);
    assert_close(&[linear.lr(1, 0.0)], &[0.004 + 0.096 / 5.0]);
    let cos = cycle(false, 0.3, Anneal::Cos);
    assert_close(
        &[cos.lr(12, 0.0)],
        &[last + (0.1 - last) / 2.0 * (1.0 + (PI * 0.5).cos())],
    );
    // A rise of no steps, or of one: no division by zero.
    for pct_start in [0.0, 0.05, 1.0] {
        assert!(
            rates(&cycle(false, pct_start, Anneal::Cos), 30)
                .iter()
                .all(|lr| lr.is_finite())
        );
    }
    assert_close(&[cycle(false, 0.05, Anneal::Cos).lr(0, 0.0)], &[0.1]);
}

#[test]
fn sequences_count_their_own_steps() {
    let schedule = Schedule::Sequential {
        schedules: vec![
            Schedule::Constant {
                factor: 0.1,
                total_iters: 100,
            },
            Schedule::Exponential { gamma: 0.5 },
            Schedule::None,
        ],
        milestones: vec![2, 4],
    };
    assert_close(
        &rates(&schedule, 6),
        &[0.005, 0.005, 0.05, 0.025, 0.05, 0.05],
    );
}

#[test]
fn a_recipe_names_a_schedule_and_a_wrong_field_is_refused() {
    let from = |text: &str| toml::from_str::<Schedule>(text);
    let schedule = from("name = \"one_cycle\"\nmax_lr = 0.1\ntotal_steps = 20").unwrap();
    assert_eq!(
        schedule,
        Schedule::OneCycle {
            max_lr: 0.1,
            total_steps: 20,
            epochs: 0,
            steps_per_epoch: 0,
            pct_start: 0.3,
            anneal_strategy: Anneal::Cos,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
            cycle_momentum: true,
            base_momentum: 0.85,
            max_momentum: 0.95,
        }
    );
    let text = toml::to_string(&schedule).unwrap();
    assert_eq!(from(&text).unwrap(), schedule);
    let nested = from(
        "name = \"sequential\"\nmilestones = [5]\nschedules = [{ name = \"linear\" }, { name = \"none\" }]",
    )
    .unwrap();
    assert_eq!(nested.validate().map_err(|e| e.to_string()), Ok(()));
    let pytorchs = from("name = \"CosineAnnealingLR\"\nT_max = 3").unwrap();
    assert_eq!(pytorchs, from("name = \"cosine\"\nt_max = 3").unwrap());
    assert!(from("name = \"cosine\"").is_err());
    let error = from("name = \"cosine\"\nt_max = 3\nt_min = 1").unwrap_err();
    assert!(error.to_string().contains("t_min"), "{error}");
}

#[test]
fn impossible_schedules_are_refused_with_their_field() {
    let refused = |schedule: Schedule, message: &str| {
        let error = schedule.validate().unwrap_err().to_string();
        assert_eq!(error, message);
        // It still gives numbers and no panic.
        for t in [0, 1, u64::MAX] {
            let _ = schedule.lr(t, 1.0);
        }
    };
    refused(
        Schedule::Step {
            step_size: 0,
            gamma: 0.1,
        },
        "schedule: step_size must be at least 1, but is 0",
    );
    refused(
        Schedule::Exponential { gamma: f64::NAN },
        "schedule: gamma must be a number above 0, but is NaN",
    );
    refused(
        Schedule::Linear {
            start_factor: 1.5,
            end_factor: 1.0,
            total_iters: 5,
        },
        "schedule: start_factor must be from 0 to 1, but is 1.5",
    );
    refused(
        Schedule::Cosine {
            t_max: 0,
            eta_min: 0.0,
        },
        "schedule: t_max must be at least 1, but is 0",
    );
    refused(
        Schedule::WarmupCosine {
            warmup_steps: 5,
            total_steps: 5,
            min_factor: 0.0,
        },
        "schedule: total_steps must be above warmup_steps, but is 5",
    );
    refused(
        Schedule::Sequential {
            schedules: vec![Schedule::None],
            milestones: vec![1],
        },
        "schedule: milestones must be one fewer than schedules, but is 1",
    );
    refused(
        Schedule::Sequential {
            schedules: vec![Schedule::None; 3],
            milestones: vec![4, 4],
        },
        "schedule: milestones must be ascending, but is 4",
    );
}

#[test]
fn cyclic_goes_up_and_down() {
    let cyclic = |mode, gamma| Schedule::Cyclic {
        base_lr: 0.0,
        max_lr: 1.0,
        step_size_up: 4,
        step_size_down: Some(2),
        mode,
        gamma,
        cycle_momentum: true,
        base_momentum: 0.5,
        max_momentum: 0.9,
    };
    let plain = cyclic(Cycle::Triangular, 1.0);
    assert_close(
        &rates(&plain, 8),
        &[0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.0, 0.25],
    );
    let momenta = [0, 4, 6].map(|t| plain.momentum(t).unwrap());
    assert_close(&momenta, &[0.9, 0.5, 0.9]);
    let halved = cyclic(Cycle::Triangular2, 1.0);
    assert_close(&[4, 10, 16].map(|t| halved.lr(t, 9.0)), &[1.0, 0.5, 0.25]);
    let fading = cyclic(Cycle::ExpRange, 0.9);
    assert_close(
        &[4, 10].map(|t| fading.lr(t, 9.0)),
        &[0.9_f64.powi(4), 0.9_f64.powi(10)],
    );
}

#[test]
fn the_momentum_of_one_cycle_mirrors_its_rate() {
    let schedule: Schedule =
        toml::from_str("name = \"OneCycleLR\"\nmax_lr = 0.1\nepochs = 4\nsteps_per_epoch = 5")
            .unwrap();
    schedule.validate().unwrap();
    let momenta = [0, 5, 19, 30].map(|t| schedule.momentum(t).unwrap());
    assert_close(&momenta, &[0.95, 0.85, 0.95, 0.95]);
    assert_eq!(Schedule::None.momentum(3), None);
}

#[test]
fn warm_up_plateau_and_fall() {
    let wsd = |decay| Schedule::WarmupStableDecay {
        warmup_steps: 2,
        stable_steps: 3,
        decay_steps: 4,
        min_factor: 0.2,
        decay,
    };
    let want = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2].map(|f| f * 0.05);
    assert_close(&rates(&wsd(Anneal::Linear), 11), &want);
    let sqrt = wsd(Anneal::Sqrt);
    assert_close(&[sqrt.lr(6, 1.0), sqrt.lr(9, 1.0)], &[0.6, 0.2]);
    let warm = Schedule::Warmup {
        warmup_steps: 4,
        then: Box::new(Schedule::Exponential { gamma: 0.5 }),
    };
    let want = [0.25, 0.5, 0.75, 1.0, 1.0, 0.5].map(|f| f * 0.05);
    assert_close(&rates(&warm, 6), &want);
}

#[test]
fn chained_schedules_change_what_the_others_have_left() {
    let chained = |schedules| Schedule::Chained { schedules };
    let falling = Schedule::Exponential { gamma: 0.9 };
    let both = chained(vec![
        falling.clone(),
        Schedule::Step {
            step_size: 2,
            gamma: 0.5,
        },
    ]);
    assert_close(&rates(&both, 3), &[0.05, 0.05 * 0.9, 0.05 * 0.81 * 0.5]);
    let cosine = |eta_min| Schedule::Cosine { t_max: 2, eta_min };
    // The fall is forgotten where the cosine has reached 0: from there it adds. PyTorch's numbers.
    let again = chained(vec![cosine(0.0), falling.clone()]);
    assert_close(&rates(&again, 5), &[0.05, 0.0225, 0.0, 0.0225, 0.0405]);
    let floor = chained(vec![cosine(0.01), falling.clone()]);
    assert_close(&rates(&floor, 4), &[0.05, 0.027, 0.009, 0.0261]);
    let restarts = Schedule::CosineRestarts {
        t_0: 2,
        t_mult: 1,
        eta_min: 0.0,
    };
    // What sets the learning rate leaves one factor to what comes behind it, and nothing to what comes before.
    let behind = chained(vec![restarts.clone(), falling.clone()]);
    assert_close(&rates(&behind, 4), &[0.05, 0.0225, 0.045, 0.0225]);
    let before = chained(vec![falling, restarts.clone()]);
    assert_close(&rates(&before, 3), &[0.05, 0.025, 0.05]);
    let hidden = Schedule::Warmup {
        warmup_steps: 2,
        then: Box::new(one_cycle_of(0.5)),
    };
    let error = chained(vec![hidden]).validate().unwrap_err().to_string();
    assert!(
        error.contains("that set the learning rate inside"),
        "{error}"
    );
}

#[test]
fn a_one_cycle_schedule_changes_the_base_of_a_sequence_as_in_pytorch() {
    let sequence = Schedule::Sequential {
        schedules: vec![
            Schedule::Constant {
                factor: 0.1,
                total_iters: 0,
            },
            one_cycle_of(0.5),
        ],
        milestones: vec![2],
    };
    assert_close(&rates(&sequence, 3), &[0.002, 0.002, 0.02]);
}

/// A one-cycle schedule of 10 steps up to this learning rate.
fn one_cycle_of(max_lr: f64) -> Schedule {
    let text = format!("name = \"one_cycle\"\nmax_lr = {max_lr}\ntotal_steps = 10");
    toml::from_str(&text).unwrap()
}
